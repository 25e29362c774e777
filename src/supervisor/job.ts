import { realpathSync, statSync } from 'node:fs';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { parseConfig } from '../config/parse.ts';
import { ConfigError, type Problem, UnreadableError } from '../config/problems.ts';
import { readConfig } from '../config/read.ts';
import { withSecrets } from '../config/secrets.ts';
import type { Config, Log } from '../config/types.ts';
import { apply, type Fed } from '../feeder/apply.ts';
import type { TokensWanted } from '../feeder/feed.ts';
import { withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { readHold } from '../host/hold.ts';
import { type InterfaceTroubles, interfaceTroubles } from '../host/interfaces.ts';
import { keepLastGood } from '../host/last-good.ts';
import { giveBackMemory } from '../host/memory.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { type Difference, differences } from '../ruleset/describe.ts';
import { holds } from '../ruleset/names.ts';
import { decompile, programOf } from '../ruleset/program.ts';
import { opens } from '../ruleset/sets.ts';
import { type KnownClient, knownClients } from '../table/clients.ts';
import { explain } from '../table/explain.ts';
import type { Dropped } from '../table/fit.ts';
import { readSets, withState } from '../table/read.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { refuseUnconfirmed } from '../trial/unconfirmed.ts';
import { allKnown, byHand, countOf, type Known, type PackedClients, pack } from './clients.ts';
import { THREAD } from './thread.ts';
import { signature } from './watch.ts';

/**
 * One load, in a thread of its own if it is large. Reading, compiling and comparing a large configuration would hold up the
 * event loop for too long, and the thread gives its memory back when it ends.
 */
interface Job {
  /** The file to load, or the bytes that were loaded from it before. */
  readonly source: { readonly path: string } | { readonly bytes: Uint8Array; readonly path: string };
  /** The clients to let in again if the table has to be made. */
  readonly known: Known;
  /** How much of an address was a client in the load before; undefined if there was no load. */
  readonly prefix: Config['prefix'] | undefined;
  /** Where to keep the configuration if it could be loaded. */
  readonly keepAt: string | undefined;
  /** Each use of a token until now is written down. */
  readonly watched: boolean;
}

export type Outcome =
  | { readonly is: 'loaded'; readonly load: LoadOutcome }
  | { readonly is: 'held' }
  | {
      readonly is: 'invalid';
      readonly problems: readonly Problem[];
      readonly missing: boolean;
      readonly secretFiles: readonly string[];
    }
  | { readonly is: 'failed'; readonly message: string };

export interface LoadOutcome {
  readonly event: 'loaded' | 'swapped' | 'unchanged';
  /** The configuration, with secrets of other files in it. */
  readonly bytes: Uint8Array;
  /** Those files. */
  readonly secretFiles: readonly string[];
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
  /** Of the configuration, and what is wrong with them. */
  readonly interfaces: Config['interfaces'];
  readonly interfaceTroubles: InterfaceTroubles;
  readonly log: Log;
  readonly metrics: boolean;
  readonly prefix: Config['prefix'];
  /** By name; `openFor` is null if there are no ports to open. */
  readonly services: ReadonlyMap<string, { readonly openFor: number | null; readonly singleUse: boolean }>;
  /** The user that a place at the end of a sequence stands for. */
  readonly users: ReadonlyMap<number, string>;
  /** The clients that are in. */
  readonly clients: PackedClients;
  /** When the load began, as `monotonic` counts. */
  readonly begun: number;
  /** Changes by hand since the load before. */
  readonly granted: PackedClients;
  readonly revoked: PackedClients;
}

/** A trial began during the load, or was confirmed. This load must not replace its candidate. */
class HeldError extends Error {
  override readonly name = 'HeldError';
}

/** A trial may also have come and gone: then the file is no longer as it was when the load began (`seen`). */
function refuseAgainstTrial(path: string, seen: string): void {
  const unreadable = { reason: 'a hold that cannot be read', until: null };
  const hold = readHold(process.env, unreadable);
  if (hold === unreadable) throw new Error(`there is ${hold.reason}`);
  if (hold || signature(path) !== seen) throw new HeldError();
}

/** A load that takes this long hangs, in milliseconds. */
const LONGEST = 5 * 60_000;

/**
 * The most bytes of a configuration, and the most clients, that are loaded without a thread: to start one takes several times
 * as long as such a load. A hundred services take about 8 KiB, and hold up the event loop for a tenth of a second.
 */
const SMALL = { bytes: 8 * 1024, clients: 1000 } as const;

/** Only a file of this size is known to be read at once. The clients that are in are known only after a first load. */
function isSmall({ source, known, prefix }: Job): boolean {
  if (!prefix || countOf(known.packed) + known.recent.length > SMALL.clients) return false;
  if ('bytes' in source) return source.bytes.length <= SMALL.bytes;
  try {
    const file = statSync(source.path);
    return file.isFile() && file.size <= SMALL.bytes;
  } catch {
    return false;
  }
}

/** Runs a job, in a thread of this program unless it is small. There is an outcome, however the thread ends. */
export async function runJob(job: Job): Promise<Outcome> {
  if (isSmall(job)) return work(job).finally(() => giveBackMemory());
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      const transferList = [job.known.packed.bytes.buffer];
      const program = realpathSync(process.argv[1] ?? '');
      const thread = new Worker(program, { argv: [THREAD], workerData: job, transferList });
      const timer = setTimeout(() => {
        reject(new Error('the load does not end'));
        void thread.terminate();
      }, LONGEST);
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', () => {
        clearTimeout(timer);
        giveBackMemory();
        reject(new Error('the thread of the load ended without an answer'));
      });
    });
  } catch (error) {
    return { is: 'failed', message: error instanceof Error ? error.message : String(error) };
  }
}

/** The work of the thread. */
export async function serveJob(): Promise<void> {
  const outcome = await work(workerData as Job);
  const packed =
    outcome.is === 'loaded' ? [outcome.load.clients, outcome.load.granted, outcome.load.revoked] : [];
  parentPort?.postMessage(
    outcome,
    packed.map(({ bytes }) => bytes.buffer),
  );
}

async function work(job: Job): Promise<Outcome> {
  try {
    return { is: 'loaded', load: await loadJob(job) };
  } catch (error) {
    if (error instanceof HeldError) return { is: 'held' };
    if (error instanceof UnreadableError && !error.missing) return { is: 'failed', message: error.reason };
    if (error instanceof ConfigError)
      return {
        is: 'invalid',
        problems: error.problems,
        missing: error instanceof UnreadableError,
        secretFiles: error.secretFiles,
      };
    const message = explain(error) ?? (error instanceof Error ? error.message : String(error));
    return { is: 'failed', message: message.replaceAll(/\s*\n\s*/g, '; ') };
  }
}

async function loadJob({ source, known, prefix, keepAt, watched }: Job): Promise<LoadOutcome> {
  const begun = monotonic();
  const seen = signature(source.path);
  const { config, warnings, bytes, secretFiles } =
    'bytes' in source
      ? {
          ...parseConfig(Buffer.from(source.bytes).toString(), source.path, process.env),
          bytes: source.bytes,
        }
      : readConfig(source.path, process.env);
  if (!('bytes' in source)) refuseUnconfirmed(process.env, source.path, bytes);
  const before = allKnown(known);
  const stillIn = withoutRevoked(process.env, before, known.seen);
  return withKernel(async access => {
    const { connection } = access;
    const { wanted, tokens, feeding, ...loaded } = await apply(access, config, {
      env: process.env,
      remembered: stillIn,
      mayCommit: () => refuseAgainstTrial(source.path, seen),
      watched,
    });
    const kept = withSecrets(Buffer.from(bytes).toString(), config);
    const notKept = keepAt === undefined ? [] : keepLastGood(keepAt, kept);
    const event = loaded.objects === 0 ? 'unchanged' : loaded.before ? 'swapped' : 'loaded';
    const program = programOf(config);
    const services = new Map(
      config.services.map(service => {
        const { name, openFor, singleUse } = service;
        return [name, { openFor: opens(service) ? openFor : null, singleUse }] as const;
      }),
    );
    const clients = await readClients(connection, wanted, monotonic());
    const { granted, revoked } = byHand(before, clients, begun, monotonic());
    /** Leaves out clients that are gone because their service is gone, or now counts clients in another way. */
    const isComparable = ({ service, family }: KnownClient) =>
      event !== 'loaded' &&
      prefix?.[family] === config.prefix[family] &&
      services.get(service)?.singleUse === false;
    return {
      event,
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
      secretFiles,
      users: new Map(
        [...program.openings].flatMap(([place, { user }]) => (user === null ? [] : [[place, user] as const])),
      ),
      clients: pack(clients),
      begun,
      granted: pack(granted.filter(isComparable)),
      revoked: pack(revoked.filter(isComparable)),
    };
  });
}

/** The clients that are in at the time `now`. The kernel may know which sets are empty. Of thousands, most are. */
async function readClients(
  connection: Connection,
  { table, chains, counters, sets }: Ruleset,
  now: number,
): Promise<KnownClient[]> {
  const there = new Map((await readSets(connection, table.name)).map(({ name, count }) => [name, count]));
  const counted = sets.map(set => {
    const count = there.get(set.name);
    return count === undefined ? set : { ...set, count };
  });
  const isClients = (name: string) => ['clients', 'users'].includes(holds(name) ?? '');
  return knownClients(
    await withState(connection, { table, chains, counters, sets: counted }, isClients),
    now,
  );
}
