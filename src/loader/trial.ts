import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import type { Ruleset } from '../nftables/ruleset.ts';
import { restoreRuleset, type SavedRuleset, saveRuleset } from '../nftables/saved.ts';
import type { KnownClient } from './clients.ts';
import { writeWhole } from './files.ts';
import { type Hold, readHold, runtimeFolder } from './hold.ts';

/** What `try` remembers in the runtime folder, so that any process can confirm it or go back. */
export interface Trial {
  readonly id: string;
  /** The configuration that the candidate is for: an absolute path. */
  readonly config: string;
  /** The candidate's absolute path; null where the configuration itself is tried, in place. */
  readonly candidate: string | null;
  /** What was tried. */
  readonly bytes: Uint8Array;
  /** Our table as it was, without state; null where there was none. */
  readonly former: Ruleset | null;
  /** Who was in. */
  readonly clients: readonly KnownClient[];
  /** Where last good and unconfirmed contents are remembered, if somebody said. */
  readonly stateFolder: string | null;
  /** The hold that was in force. */
  readonly hold: Hold | null;
  /** Running connections, by {@link sessionId}: a login over one of them proves nothing about the new rules. */
  readonly sessions: readonly string[];
  /** When it is undone, in milliseconds of the epoch. */
  readonly until: number;
  /** Packets of the named counters under the new rules, from the beginning; null while these are being loaded. */
  readonly counters: ReadonlyMap<string, number> | null;
}

type SavedTrial = Omit<Trial, 'former'> & { readonly former: SavedRuleset | null };

/** Another `try` is under way. */
export class TrialError extends Error {
  override readonly name = 'TrialError';
}

const trialPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'trial');
const claimPath = (env: NodeJS.ProcessEnv, id: string) => `${trialPath(env)}.${id}`;
const SECRET = { mode: 0o600 } as const;

export function newTrialId(): string {
  return randomBytes(6).toString('hex');
}

function encode({ former, ...trial }: Trial): Buffer {
  return serialize({ ...trial, former: former && saveRuleset(former) } satisfies SavedTrial);
}

/** The trial that is under way. What another user wrote into the folder is none: root acts on what it says. */
export function readTrial(env: NodeJS.ProcessEnv): Trial | undefined {
  return readTrialAt(trialPath(env));
}

function readTrialAt(path: string): Trial | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = fstatSync(descriptor);
    if (!stats.isFile() || stats.uid !== process.geteuid?.()) return undefined;
    const { former, ...trial } = deserialize(readFileSync(descriptor)) as SavedTrial;
    return { ...trial, former: former && restoreRuleset(former) };
  } catch {
    return undefined;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function refuseSecond(): never {
  throw new TrialError(
    'something is being tried already: "knockd-nft confirm" keeps it, "knockd-nft undo" goes back',
  );
}

/** Throws {@link TrialError} where one is under way. */
export function refuseSecondTrial(env: NodeJS.ProcessEnv): void {
  if (readTrial(env)) refuseSecond();
}

/** Writes a new trial down. Throws as {@link refuseSecondTrial} does. */
export function writeTrial(env: NodeJS.ProcessEnv, trial: Trial): void {
  mkdirSync(runtimeFolder(env), { recursive: true, mode: 0o755 });
  const own = claimPath(env, trial.id);
  writeWhole(own, encode(trial), SECRET);
  try {
    linkSync(own, trialPath(env)); // fails where there is one, unlike a rename
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    refuseSecond();
  } finally {
    rmSync(own);
  }
}

/** Writes down how the counters stand under the new rules; nothing happens to a trial that is over. */
export function startCounting(env: NodeJS.ProcessEnv, id: string, counters: Trial['counters']): boolean {
  const trial = readTrial(env);
  if (trial?.id !== id) return false;
  writeWhole(trialPath(env), encode({ ...trial, counters }), SECRET);
  return true;
}

/** A trial that only we end. */
export interface Claim {
  readonly trial: Trial;
  /** It is over. */
  readonly drop: () => void;
  /** It goes on. */
  readonly release: () => void;
}

/** Takes the trial under way, or only that of this id: of all who try at the same time one gets it. */
export function claimTrial(env: NodeJS.ProcessEnv, id?: string): Claim | undefined {
  const there = readTrial(env);
  if (!there || (id !== undefined && there.id !== id)) return undefined;
  const claimed = claimPath(env, there.id);
  try {
    renameSync(trialPath(env), claimed);
  } catch {
    return undefined; // somebody else has it
  }
  const trial = readTrialAt(claimed);
  if (!trial) return undefined;
  return {
    trial,
    drop: () => rmSync(claimed, { force: true }),
    release: () => renameSync(claimed, trialPath(env)),
  };
}

/** Whether it is neither confirmed nor undone yet. */
export function isUnderWay(env: NodeJS.ProcessEnv, id: string): boolean {
  return existsSync(claimPath(env, id)) || readTrial(env)?.id === id;
}

/** Throws {@link TrialError} while something is being tried: what else changes the rules would be undone with it. */
export function refuseWhileTrying(env: NodeJS.ProcessEnv): void {
  const hold = readHold(env);
  if (hold && hold.until !== null)
    throw new TrialError(
      `${hold.reason}: "knockd-nft confirm" keeps that, "knockd-nft undo" goes back; nothing was changed`,
    );
}
