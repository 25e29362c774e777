import { statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { parseConfig, type ReadConfig } from '../config/parse.ts';
import { ConfigError, type Problem, UnreadableError } from '../config/problems.ts';
import { readConfig, readFile, understandFile } from '../config/read.ts';
import type { Config, Log } from '../config/types.ts';
import { withSecrets } from '../config/with-secrets.ts';
import { apply, type Fed } from '../feeder/apply.ts';
import type { TokensWanted } from '../feeder/feed.ts';
import { withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { readHoldOr } from '../host/hold.ts';
import { type InterfaceTroubles, interfaceTroubles } from '../host/interfaces.ts';
import { keepLastGood } from '../host/last-good.ts';
import { favourSpeed, giveBackMemory } from '../host/memory.ts';
import { awayNow } from '../host/mounts.ts';
import { type Difference, differences } from '../ruleset/describe.ts';
import { decompile } from '../ruleset/program.ts';
import { opens } from '../ruleset/service.ts';
import type { KnownClient } from '../table/clients.ts';
import { HalfDoneError, TrialError } from '../table/errors.ts';
import { reasonOf } from '../table/explain.ts';
import type { Dropped } from '../table/fit.ts';
import type { Loaded } from '../table/load.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { refuseUnconfirmed } from '../trial/unconfirmed.ts';
import { allKnown, byHand, type Known, type PackedClients, pack } from './clients.ts';
import { guardFirst, isCrowd, letCrowdIn, letIntoAnother, together } from './crowd.ts';
import { type Former, type Kept, keepConfig, recalled } from './former.ts';
import { ANSWERED, type Given, type LoadSource, MAY_HANG, READ, type Threads } from './threads.ts';
import { signature } from './watch.ts';
import { whoIsIn } from './who-is-in.ts';

/**
 * One load, in a thread of its own if it is large. Reading, compiling and comparing a large configuration would hold up the
 * event loop for too long, and the thread gives its memory back when it ends.
 */
interface Job {
  readonly source: LoadSource;
  /** The clients to let in again if the table has to be made. */
  readonly known: Known;
  /** How much of an address was a client in the load before; undefined if there was no load. */
  readonly prefix: Config['prefix'] | undefined;
  /** The path at which to keep the configuration if it could be loaded. */
  readonly keepAt: string | undefined;
  /** Each use of a token until now is written down. */
  readonly watched: boolean;
  /** The load before, which spares this one to read the table. */
  readonly former: Former | undefined;
  /** When it began, as `monotonic` counts. */
  readonly begun: number;
  /** How the file looked then; undefined if it may hang, so that only a thread should read it, and nobody look at it again. */
  readonly seen: string | undefined;
}

type Outcome =
  | { readonly is: 'loaded'; readonly load: LoadOutcome }
  | { readonly is: 'held' }
  | {
      readonly is: 'invalid';
      readonly problems: readonly Problem[];
      readonly missing: boolean;
      readonly secrets: Seen;
    }
  | { readonly is: 'failed'; readonly message: string };

/** Files, and how each looked just before it was read. */
type Seen = ReadonlyMap<string, string>;

export interface LoadOutcome {
  readonly event: 'loaded' | 'swapped' | 'unchanged';
  /** Another program had replaced our table, which lacked clients. They are in again. */
  readonly replaced: boolean;
  /** The configuration, with secrets of other files in it. */
  readonly bytes: Uint8Array;
  /** Those files. */
  readonly secrets: Seen;
  readonly tokens: TokensWanted | undefined;
  readonly feeding: Fed;
  readonly warnings: readonly Problem[];
  /** Why it could not be kept for a boot with a bad file; empty if it was kept. */
  readonly notKept: readonly Problem[];
  readonly changes: readonly Difference[];
  readonly dropped: readonly Dropped[];
  readonly objects: number;
  readonly sessions: number;
  readonly generation: number;
  readonly table: string;
  /** Those of the configuration, and their problems. */
  readonly interfaces: Config['interfaces'];
  readonly interfaceTroubles: InterfaceTroubles;
  readonly log: Log;
  readonly metrics: boolean;
  readonly prefix: Config['prefix'];
  /** By name; `openFor` is null if there are no ports to open. */
  readonly services: ReadonlyMap<string, { readonly openFor: number | null; readonly singleUse: boolean }>;
  /** The user that a place at the end of a sequence stands for; null where the service does not tell its clients apart. */
  readonly users: ReadonlyMap<number, string | null>;
  /** The clients that are in, and the kernel's handle of the table that they are in. */
  readonly clients: PackedClients;
  readonly handle: string | undefined;
  /** For the next load. */
  readonly former: Kept;
  /** When the load began, as `monotonic` counts. */
  readonly begun: number;
  /** Changes by hand since the load before. */
  readonly granted: PackedClients;
  readonly revoked: PackedClients;
}

/**
 * Throws {@link TrialError} if a trial began during the load, since the load must not replace its candidate. A trial may also
 * have come and gone: then the file is no longer as it was when the load began (`seen`).
 */
function refuseAgainstTrial({ source: { path }, seen }: Job): void {
  const hold = readHoldOr(process.env, 'unreadable');
  if (hold === 'unreadable') throw new Error('there is a hold that cannot be read');
  if (hold || (seen !== undefined && signature(path) !== seen))
    throw new TrialError('a trial began during the load, or the file was changed');
}

/**
 * The most bytes of a configuration that is loaded without a thread, unless there is a crowd of clients: to start one takes several
 * times as long as such a load. A hundred services take about 8 KiB, and hold up the event loop for a tenth of a second.
 */
const SMALL = 8 * 1024;

/** The source of a load, and the files of secrets that were read for it. */
interface Reader {
  readonly read: () => ReadBytes;
  readonly secrets: Seen;
}

/** Reads a source that is small, and of which all is on this machine, so that it is read at once. Undefined for others. */
function smallReader({ source, seen }: Job): Reader | undefined {
  const secrets = new Map<string, string>();
  if ('bytes' in source)
    return source.bytes.length <= SMALL ? { read: () => readSource(source, secrets), secrets } : undefined;
  const { path } = source;
  if (seen === undefined || !isSmallFile(path)) return undefined;
  const written = attempted(() => readFile(path));
  try {
    if (written().secretFiles.some(awayNow())) return undefined;
  } catch {} // the load tells why
  const asking = (file: string | undefined) => file !== undefined && secrets.set(file, signature(file));
  return { read: () => confirmed(path, understandFile(written(), process.env, asking)), secrets };
}

function isSmallFile(path: string): boolean {
  try {
    const file = statSync(path);
    return file.isFile() && file.size <= SMALL;
  } catch {
    return false;
  }
}

/** Runs a job, in a thread of this program unless it is small. There is an outcome, however the thread ends. */
export async function runJob(job: Job, threads: Threads): Promise<Outcome> {
  const crowd = isCrowd(job.known);
  // the clients that are in are known only after a first load
  const reader = crowd || job.prefix !== undefined ? smallReader(job) : undefined;
  if (reader && !crowd) return work(job, undefined, reader).finally(() => giveBackMemory());
  try {
    const given = { source: job.source, isSave: job.former !== undefined };
    const made = reader && (await guardAtOnce(job, reader)); // the ports do not wait for a thread
    const work: Work = { job, made };
    return (await threads.run(given, work, [job.known.packed.bytes.buffer])) as Outcome;
  } catch (error) {
    return { is: 'failed', message: error instanceof Error ? error.message : String(error) };
  }
}

/** If our table is gone, the guards come back at once. If that fails, the load itself will tell. */
async function guardAtOnce(job: Job, { read }: Reader): Promise<Loaded | undefined> {
  try {
    const { config } = read();
    return await withKernel(access => guardFirst(access, config, job.known, () => refuseAgainstTrial(job)));
  } catch {
    return undefined;
  }
}

/** A load, and the part of it that is done already. */
interface Work {
  readonly job: Job;
  readonly made: Loaded | undefined;
}

/** What a thread does: it reads its source, says so, and waits for its work. */
export async function serveJob(): Promise<void> {
  const port = parentPort;
  if (!port) return;
  const { source, isSave } = workerData as Given;
  if (isSave) favourSpeed(); // somebody waits for a save; the first load needs the most memory
  const secrets = new Map<string, string>();
  const read = attempted(() => readSource(source, secrets, word => port.postMessage(word)));
  const ready = new Promise<Work>(resolve => port.once('message', resolve));
  port.postMessage(READ);
  const { job, made } = await ready;
  const outcome = await work(job, made, { read, secrets });
  const packed =
    outcome.is === 'loaded' ? [outcome.load.clients, outcome.load.granted, outcome.load.revoked] : [];
  port.postMessage(
    outcome,
    packed.map(({ bytes }) => bytes.buffer),
  );
}

/** The same function, called once, and now. */
function attempted<T>(call: () => T): () => T {
  try {
    const value = call();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

async function work(job: Job, made: Loaded | undefined, { read, secrets }: Reader): Promise<Outcome> {
  try {
    return { is: 'loaded', load: await loadJob(job, made, read(), secrets) };
  } catch (error) {
    const cause = error instanceof HalfDoneError ? error.cause : error; // it may have stopped between two transactions
    if (cause instanceof TrialError) return { is: 'held' };
    if (error instanceof ConfigError && error.mayPass)
      return { is: 'failed', message: error instanceof UnreadableError ? error.reason : error.message };
    if (error instanceof ConfigError)
      return {
        is: 'invalid',
        problems: error.problems,
        missing: error instanceof UnreadableError,
        secrets,
      };
    return { is: 'failed', message: reasonOf(error).replaceAll(/\s*\n\s*/g, '; ') };
  }
}

/** Notes the files of secrets in `secrets`. `says` is called before a file system is asked that may hang, and when it has answered. */
function readSource(
  source: LoadSource,
  secrets: Map<string, string>,
  says: (word: string) => void = () => {},
): ReadBytes {
  const { path } = source;
  if ('bytes' in source)
    return { ...parseConfig(Buffer.from(source.bytes).toString(), path, process.env), bytes: source.bytes };
  const isAway = awayNow();
  const asking = (file: string | undefined) => {
    says(file !== undefined && isAway(file) ? MAY_HANG : ANSWERED);
    if (file !== undefined && file !== path) secrets.set(file, signature(file));
  };
  return confirmed(path, readConfig(path, process.env, asking));
}

function confirmed(path: string, read: ReadBytes): ReadBytes {
  refuseUnconfirmed(process.env, path, read.bytes);
  return read;
}

interface ReadBytes extends ReadConfig {
  readonly bytes: Uint8Array;
}

async function loadJob(
  job: Job,
  guarded: Loaded | undefined,
  { config, warnings, bytes }: ReadBytes,
  secrets: Seen,
): Promise<LoadOutcome> {
  const { known, prefix, keepAt, watched, begun } = job;
  const mayCommit = () => refuseAgainstTrial(job);
  return withKernel(async access => {
    const { connection } = access;
    const before = allKnown(known);
    const stillIn = () => withoutRevoked(process.env, before, known.seen);
    const made = await letCrowdIn(access, config, known, guarded, mayCommit);
    const { wanted, tokens, feeding, ...applied } = await apply(access, config, {
      env: process.env,
      remembered: stillIn(),
      mayCommit,
      watched,
      former: job.former && recalled(job.former),
    });
    const loaded = await letIntoAnother(access, known, together(made, applied), config.table, mayCommit);
    const kept = withSecrets(Buffer.from(bytes).toString(), config);
    const notKept = keepAt === undefined ? [] : keepLastGood(keepAt, kept);
    const event = loaded.objects === 0 ? 'unchanged' : loaded.before ? 'swapped' : 'loaded';
    const program = decompile(wanted);
    const services = new Map(
      config.services.map(service => {
        const { name, openFor, singleUse } = service;
        return [name, { openFor: opens(service) ? openFor : null, singleUse }] as const;
      }),
    );
    const { clients, handle } = await whoIsIn(connection, wanted, known, loaded.generation, stillIn);
    const { granted, revoked } = byHand(before, clients, begun, monotonic());
    /** Leaves out clients that are gone because their service is gone, or now counts clients in another way. */
    const isComparable = ({ service, family }: KnownClient) =>
      event !== 'loaded' &&
      prefix?.[family] === config.prefix[family] &&
      services.get(service)?.singleUse === false;
    return {
      event,
      replaced: loaded.replaced,
      bytes: Buffer.from(kept),
      warnings,
      notKept,
      changes: loaded.objects > 0 && loaded.before ? differences(decompile(loaded.before), program) : [],
      dropped: loaded.dropped,
      objects: loaded.objects,
      sessions: loaded.sessions,
      generation: loaded.generation,
      table: config.table,
      interfaces: config.interfaces,
      interfaceTroubles: await interfaceTroubles(config),
      log: config.log,
      metrics: config.metrics,
      prefix: config.prefix,
      services,
      tokens,
      feeding,
      secrets,
      users: new Map([...program.openings].map(([place, { user }]) => [place, user])),
      clients: pack(clients),
      handle,
      former: keepConfig(config),
      begun,
      granted: pack(granted.filter(isComparable)),
      revoked: pack(revoked.filter(isComparable)),
    };
  });
}
