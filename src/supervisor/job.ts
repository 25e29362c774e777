import { realpathSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import koffi from 'koffi';
import { parseConfig } from '../config/parse.ts';
import { ConfigError, type Problem } from '../config/problems.ts';
import { readConfig } from '../config/read.ts';
import type { Config, Log } from '../config/types.ts';
import { withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { readHold } from '../host/hold.ts';
import { keepLastGood } from '../host/last-good.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { compile } from '../ruleset/compile.ts';
import { type Difference, differences } from '../ruleset/describe.ts';
import { holds } from '../ruleset/names.ts';
import { compiledSequences } from '../ruleset/program.ts';
import { type KnownClient, knownClients } from '../table/clients.ts';
import { explain } from '../table/explain.ts';
import { load } from '../table/load.ts';
import { readSets, withState } from '../table/read.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { refuseUnconfirmed } from '../trial/unconfirmed.ts';
import { VERSION } from '../version.ts';

/**
 * One load, in a thread of its own: reading, compiling and comparing a large configuration takes longer than an event
 * loop may be held up, and what it takes in memory goes with the thread.
 */
export interface Job {
  /** The file to load, or the bytes that were loaded from it before. */
  readonly source: { readonly path: string } | { readonly bytes: Uint8Array; readonly path: string };
  /** Who is let in again where the table has to be made. */
  readonly remembered: readonly KnownClient[];
  /** When they were last seen in the kernel. */
  readonly seen: number;
  /** Where to keep the configuration if it could be loaded. */
  readonly keepAt: string | undefined;
}

export type Outcome =
  | { readonly is: 'loaded'; readonly load: LoadOutcome }
  | { readonly is: 'held' }
  | { readonly is: 'invalid'; readonly problems: readonly Problem[] }
  | { readonly is: 'failed'; readonly message: string };

export interface LoadOutcome {
  readonly event: 'loaded' | 'swapped' | 'unchanged';
  readonly bytes: Uint8Array;
  readonly warnings: readonly Problem[];
  readonly changes: readonly Difference[];
  readonly objects: number;
  readonly sessions: number;
  readonly generation: number;
  readonly table: string;
  readonly log: Log;
  readonly prefix: Config['prefix'];
  readonly services: readonly {
    readonly name: string;
    readonly openFor: number;
    readonly singleUse: boolean;
  }[];
  /** The user that a place at the end of a sequence stands for. */
  readonly users: readonly (readonly [place: number, user: string])[];
  readonly clients: readonly KnownClient[];
}

/** A hold came while we were at it: a `try` begins, whose candidate this load must not replace. */
class HeldError extends Error {
  override readonly name = 'HeldError';
}

function refuseWhileHeld(): void {
  if (readHold(process.env)) throw new HeldError();
}

/** malloc_trim(3): what a thread leaves behind in the C library's heap goes back to the system. */
const giveBackMemory = koffi.load(null).func('int malloc_trim(size_t pad)');

/**
 * Where new objects live, in MiB: as little as the unit says for this thread, which mostly waits; for the time of a job more,
 * which takes an eighth less time. A heap takes its sizes from the flags as they are when its thread starts.
 */
const YOUNG = { here: 1, job: 8 } as const;

function setYoungGeneration(mebibytes: number): void {
  if (process.execArgv.includes(`--max-semi-space-size=${YOUNG.here}`))
    setFlagsFromString(`--max-semi-space-size=${mebibytes}`);
}

/** Runs a job in a thread of this program. */
export function runJob(job: Job): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    setYoungGeneration(YOUNG.job);
    const thread = new Worker(realpathSync(process.argv[1] ?? ''), { workerData: job });
    thread.once('online', () => setYoungGeneration(YOUNG.here));
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', () => {
      giveBackMemory(0);
      reject(new Error('the loader thread ended without an answer'));
    });
  });
}

/** What the thread does. */
export async function serveJob(): Promise<void> {
  parentPort?.postMessage(await work(workerData as Job));
}

async function work(job: Job): Promise<Outcome> {
  try {
    return { is: 'loaded', load: await loadJob(job) };
  } catch (error) {
    if (error instanceof HeldError) return { is: 'held' };
    if (error instanceof ConfigError) return { is: 'invalid', problems: error.problems };
    const message = explain(error) ?? (error instanceof Error ? error.stack : undefined) ?? String(error);
    return { is: 'failed', message };
  }
}

async function loadJob({ source, remembered, seen, keepAt }: Job): Promise<LoadOutcome> {
  const { config, warnings, bytes } =
    'bytes' in source
      ? {
          ...parseConfig(Buffer.from(source.bytes).toString(), source.path, process.env),
          bytes: source.bytes,
        }
      : readConfig(source.path, process.env);
  if (!('bytes' in source)) refuseUnconfirmed(process.env, source.path, bytes);
  const wanted = compile(config, VERSION);
  const stillIn = withoutRevoked(process.env, remembered, seen);
  return withKernel(async ({ connection, sessions }) => {
    const loaded = await load(connection, wanted, sessions, stillIn, refuseWhileHeld);
    const notKept = keepAt === undefined ? [] : keepLastGood(keepAt, bytes);
    return {
      event: loaded.objects === 0 ? 'unchanged' : loaded.before ? 'swapped' : 'loaded',
      bytes,
      warnings: [...warnings, ...notKept],
      changes: loaded.objects > 0 && loaded.before ? differences(loaded.before, wanted) : [],
      objects: loaded.objects,
      sessions: loaded.sessions,
      generation: loaded.generation,
      table: config.table,
      log: config.log,
      prefix: config.prefix,
      services: config.services.map(({ name, openFor, singleUse }) => ({ name, openFor, singleUse })),
      users: compiledSequences(wanted).flatMap(({ user, places }) => {
        const last = places.at(-1);
        return user === null || last === undefined ? [] : [[last, user] as const];
      }),
      clients: await readClients(connection, wanted),
    };
  });
}

/** Who is in now. The kernel may know which sets are empty: of thousands, most are. */
async function readClients(
  connection: Connection,
  { table, chains, counters, sets }: Ruleset,
): Promise<KnownClient[]> {
  const there = new Map((await readSets(connection, table.name)).map(({ name, count }) => [name, count]));
  const counted = sets.map(set => {
    const count = there.get(set.name);
    return count === undefined ? set : { ...set, count };
  });
  const isClients = (name: string) => ['clients', 'users'].includes(holds(name) ?? '');
  return knownClients(
    await withState(connection, { table, chains, counters, sets: counted }, isClients),
    monotonic(),
  );
}
