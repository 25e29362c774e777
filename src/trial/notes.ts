import { randomBytes } from 'node:crypto';
import { fstatSync, linkSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import { bootId, isOfThisBoot, monotonic } from '../host/clock.ts';
import { closeRead, openPlain, removeTemporary, writeTemporary, writeWhole } from '../host/files.ts';
import { type Hold, makeRuntimeFolder, readHold, runtimeFolder } from '../host/hold.ts';
import { tryLock } from '../host/lock.ts';
import { ownNetwork } from '../host/network.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { restoreRuleset, type SavedRuleset, saveRuleset } from '../nftables/saved.ts';
import type { KnownClient } from '../table/clients.ts';
import { TrialError } from '../table/errors.ts';
import { type End, writeEnd } from './end.ts';
import type { Start } from './witness.ts';

/** The notes that `try` leaves in the runtime folder, so that any process can confirm or undo the trial. */
export interface Trial {
  readonly id: string;
  /** The network namespace whose rules are on trial. Several namespaces may share the folder. */
  readonly network: string;
  /** The configuration that the candidate is for: an absolute path. */
  readonly config: string;
  /** The candidate's absolute path; null if the configuration itself is tried, in place. */
  readonly candidate: string | null;
  /** The content that is tried. */
  readonly bytes: Uint8Array;
  /** Our table as it was before, without state; null if there was none. */
  readonly former: Ruleset | null;
  /** The clients that were in. */
  readonly clients: readonly KnownClient[];
  /** When the table and the clients were read, as `monotonic` counts. */
  readonly seen: number;
  /** The state folder that the environment named; null if it named none. */
  readonly stateFolder: string | null;
  /** The hold that was in force before. */
  readonly hold: Hold | null;
  /** Running connections, by {@link sessionId}. A login over one of them proves nothing about the new rules. */
  readonly sessions: readonly string[];
  /** When the trial is undone, in milliseconds of the epoch, for people. */
  readonly until: number;
  /** The same as `monotonic` counts, for the process that undoes it: the clock may be set meanwhile. */
  readonly ends: number;
  /** The process of `try`. While it runs, it looks for the knock that confirms. */
  readonly by: { readonly pid: number; readonly start: string | null };
  /** The state when the new rules came into force; null before that, and if it was not read. Then only `confirm` counts. */
  readonly start: Start | null;
}

/** How long after its end a trial may still be undone, in milliseconds. Its hold is over by then. */
const LATE = 60_000;

/** The notes as they are written. Version 1 is that of knockd-nft 1.0.0. Its notes name no version. */
const NOTES_VERSION = 2;

interface SavedTrial extends Omit<Trial, 'former'> {
  readonly version: typeof NOTES_VERSION;
  /** The boot that all its times are of. Early notes of this version do not say so. */
  readonly boot?: string;
  readonly former: SavedRuleset | null;
}

/** Notes of version 1. Their counters say nothing about which client came in. */
type FirstTrial = Omit<SavedTrial, 'version' | 'boot' | 'ends' | 'by' | 'start'>;

const trialPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'trial');
const SECRET = { mode: 0o600 } as const;
/** Bytes of an identifier. In the file it comes first, in hexadecimal digits. */
const ID = 6;

export function newTrialId(): string {
  return randomBytes(ID).toString('hex');
}

function encode({ former, ...trial }: Trial): Buffer {
  const saved = {
    version: NOTES_VERSION,
    boot: bootId(),
    ...trial,
    former: former && saveRuleset(former),
  } satisfies SavedTrial;
  return Buffer.concat([Buffer.from(trial.id), serialize(saved)]);
}

/** The trial was noted by a version that this one does not understand, or its notes are damaged. */
export class UnreadableTrialError extends TrialError {
  constructor() {
    super(
      'another version of knockd-nft began the trial, and this one cannot read its notes: "knockd-nft undo" loads the configuration instead',
    );
  }
}

/**
 * Undefined for a trial that the end of its boot, or of its container, ended, since the folder may outlive both: then it is of another
 * boot, or of another network, and its time has long been over.
 */
function decode(descriptor: number): Trial | undefined {
  const saved = deserializeOr(readFileSync(descriptor).subarray(2 * ID));
  if (typeof saved !== 'object' || saved === null) throw new UnreadableTrialError();
  if (!isOfThisBoot('boot' in saved ? saved.boot : undefined)) return undefined;
  const { version, former, ...trial } = { version: 1, ...saved } as
    | SavedTrial
    | (FirstTrial & { version: 1 });
  if ('ends' in trial && trial.network !== ownNetwork() && trial.ends + LATE < monotonic()) return undefined;
  const restored = (): Ruleset | null => former && restoreRuleset(former);
  switch (version) {
    case NOTES_VERSION:
      return { ...(trial as Omit<SavedTrial, 'version' | 'boot' | 'former'>), former: restored() };
    case 1: {
      const ends = monotonic() + trial.until - Date.now();
      return { ...trial, ends, by: { pid: 0, start: null }, start: null, former: restored() };
    }
    default:
      throw new UnreadableTrialError();
  }
}

function deserializeOr(bytes: Buffer): unknown {
  try {
    return deserialize(bytes);
  } catch {
    return undefined; // another version of Node.js may write what this one cannot read
  }
}

/** Undefined if no trial is under way. Throws {@link TrialError} for another user's notes, because root acts on their content. */
function openTrial(env: NodeJS.ProcessEnv): number | undefined {
  const path = trialPath(env);
  try {
    const descriptor = openPlain(path);
    if (fstatSync(descriptor).uid === process.geteuid?.()) return descriptor;
    closeRead(descriptor);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) !== undefined && codeOf(error) !== 'ELOOP') throw error;
  }
  throw new TrialError(
    `the trial is another user's, and only that user can confirm or undo it; if there is no such user, remove ${path}`,
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** The trial that is under way. Throws {@link TrialError} if it is another user's. */
export function readTrial(env: NodeJS.ProcessEnv): Trial | undefined {
  const descriptor = openTrial(env);
  if (descriptor === undefined) return undefined;
  try {
    return decode(descriptor);
  } finally {
    closeRead(descriptor);
  }
}

/** Whether that trial is neither confirmed nor undone yet. */
export function isUnderWay(env: NodeJS.ProcessEnv, id: string): boolean {
  const descriptor = openTrial(env);
  if (descriptor === undefined) return false;
  try {
    return readId(descriptor) === id;
  } finally {
    closeRead(descriptor);
  }
}

function readId(descriptor: number): string {
  const id = Buffer.alloc(2 * ID);
  readSync(descriptor, id, 0, id.length, 0);
  return id.toString();
}

function refuseSecond(): never {
  throw new TrialError('a trial is under way: "knockd-nft confirm" keeps it, "knockd-nft undo" goes back');
}

/** Throws {@link TrialError} if a trial is under way. */
export function refuseSecondTrial(env: NodeJS.ProcessEnv): void {
  const claim = claimTrial(env, undefined, true);
  if (claim === undefined) return;
  if (claim !== 'taken') claim.release();
  refuseSecond();
}

/**
 * A trial that this process alone begins or ends. It holds a lock on the trial's file, which the kernel releases when the
 * process ends. A process that has waited for {@link PATIENCE} may go on without the lock. So the holder asks whether the
 * trial is still there before it changes anything else.
 */
export interface Claim {
  readonly trial: Trial;
  readonly isThere: () => boolean;
  /** Ends the trial: notes how, removes its file and releases the lock. */
  readonly drop: (end: End) => void;
  /** Releases the lock. The trial goes on. */
  readonly release: () => void;
}

function claimOf(env: NodeJS.ProcessEnv, descriptor: number, trial: Trial): Claim {
  const path = trialPath(env);
  const isThere = () => isAt(path, descriptor);
  return {
    trial,
    isThere,
    drop(end) {
      if (isThere()) {
        writeEnd(env, trial.id, end);
        rmSync(path);
      }
      closeRead(descriptor);
    },
    release: () => closeRead(descriptor),
  };
}

function isAt(path: string, descriptor: number): boolean {
  const own = fstatSync(descriptor);
  const there = statSync(path, { throwIfNoEntry: false });
  return there?.ino === own.ino && there.dev === own.dev;
}

/** Writes down a new trial and claims it. Throws like {@link refuseSecondTrial}. */
export function writeTrial(env: NodeJS.ProcessEnv, trial: Trial): Claim {
  makeRuntimeFolder(env);
  const own = writeTemporary(trialPath(env), encode(trial), SECRET);
  let descriptor: number | undefined;
  try {
    descriptor = openPlain(own);
    tryLock(descriptor);
    linkSync(own, trialPath(env)); // unlike a rename, it fails if there is one
    return claimOf(env, descriptor, trial);
  } catch (error) {
    if (descriptor !== undefined) closeRead(descriptor);
    if (codeOf(error) !== 'EEXIST') throw error;
    refuseSecond();
  } finally {
    removeTemporary(own);
  }
}

/** Notes what the load replaced and the state after it, and releases the claim. False if the trial is over. */
export function writeStart(
  env: NodeJS.ProcessEnv,
  claim: Claim,
  begun: Pick<Trial, 'former' | 'start'>,
): boolean {
  if (!claim.isThere()) return false;
  writeWhole(trialPath(env), encode({ ...claim.trial, ...begun }), SECRET);
  claim.release();
  return true;
}

/**
 * Claims the trial under way, or only the one of this id; `taken` if another process begins or ends it at this moment. The notes of
 * one that a boot ended are removed.
 */
function claimTrial(
  env: NodeJS.ProcessEnv,
  id: string | undefined,
  locked: boolean,
): Claim | 'taken' | undefined {
  const descriptor = openTrial(env);
  if (descriptor === undefined) return undefined;
  let claim: Claim | undefined;
  try {
    if (id !== undefined && readId(descriptor) !== id) return undefined;
    if ((locked && !tryLock(descriptor)) || !isAt(trialPath(env), descriptor)) return 'taken';
    const trial = decode(descriptor);
    if (!trial) {
      if (locked) rmSync(trialPath(env));
      return undefined;
    }
    if (trial.network !== ownNetwork())
      throw new TrialError(`the trial is for another network namespace, ${trial.network}: run this there`);
    claim = claimOf(env, descriptor, trial);
    return claim;
  } finally {
    if (!claim) closeRead(descriptor);
  }
}

/** How long another process may take to begin or end a trial, in milliseconds. It may have been stopped. */
const PATIENCE = 10_000;
const LOOK = 100;

/**
 * Claims the trial under way, or only the one of this id, as soon as no other process has it; undefined if there is none.
 * After {@link PATIENCE} it throws {@link TrialError}, or with `force` goes on without the lock.
 */
export async function awaitTrial(
  env: NodeJS.ProcessEnv,
  id: string | undefined,
  options: { readonly force: boolean },
): Promise<Claim | undefined> {
  for (const end = performance.now() + PATIENCE; ; await delay(LOOK)) {
    const late = performance.now() > end;
    const claim = claimTrial(env, id, !(late && options.force));
    if (claim !== 'taken') return claim;
    if (late) throw new TrialError('the trial is being loaded or undone: try again in a few seconds');
  }
}

/** Removes the notes of a trial that no version here can read. */
export function dropUnreadable(env: NodeJS.ProcessEnv): void {
  rmSync(trialPath(env), { force: true });
}

/** Throws {@link TrialError} while a trial is under way, because an undo would take other changes back with it. */
export function refuseWhileTrying(env: NodeJS.ProcessEnv): void {
  const hold = readHold(env);
  if (hold && hold.until !== null)
    throw new TrialError(
      `${hold.reason}: "knockd-nft confirm" keeps that, "knockd-nft undo" goes back; nothing was changed`,
    );
}
