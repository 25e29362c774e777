import { existsSync, mkdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readPlain, writeWhole } from './files.ts';
import { ownNetwork } from './network.ts';
import { startOf } from './proc.ts';

/** Asks the supervisor to leave the kernel as it is: after `unload`, and while a `try` is not confirmed. */
export interface Hold {
  /** For people: `unloaded by hand`. */
  readonly reason: string;
  /** When it ends by itself, in milliseconds of the epoch: of a `try`. Null for not before the next load. */
  readonly until: number | null;
}

/** The folder that systemd makes for the service: /run/knockd-nft. */
export function runtimeFolder({ RUNTIME_DIRECTORY }: NodeJS.ProcessEnv): string {
  return RUNTIME_DIRECTORY?.split(':')[0] || '/run/knockd-nft';
}

const holdPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'hold');
const pidPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'supervisor.pid');

/**
 * The hold that is in force; undefined where there is none, or it is over, or it says nothing understandable. `unreadable`
 * where it is there, as it seems, and cannot be read at this moment.
 */
export function readHold(env: NodeJS.ProcessEnv, unreadable?: Hold): Hold | undefined {
  let text: string;
  try {
    // it is asked for every second: an exception takes longer
    if (!statSync(holdPath(env), { throwIfNoEntry: false })) return undefined;
    text = readPlain(holdPath(env));
  } catch (error) {
    return isMissing(error) ? undefined : unreadable;
  }
  try {
    const { reason, until } = JSON.parse(text) as Partial<Hold>;
    if (typeof reason !== 'string') return undefined;
    if (typeof until === 'number') return until > Date.now() ? { reason, until } : undefined;
    return { reason, until: null };
  } catch {
    return undefined;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** `trying /etc/knockd-nft.json.new, until 2026-11-23T12:00:30.000Z` */
export function holdText({ reason, until }: Hold): string {
  return until === null ? reason : `${reason}, until ${new Date(until).toISOString()}`;
}

export function writeHold(env: NodeJS.ProcessEnv, hold: Hold): void {
  mkdirSync(runtimeFolder(env), { recursive: true, mode: 0o755 });
  writeWhole(holdPath(env), JSON.stringify(hold), { mode: 0o644 }); // the supervisor is another user
}

/** Ends a hold; fine if there is none, or it cannot be written here. */
export function endHold(env: NodeJS.ProcessEnv): void {
  try {
    rmSync(holdPath(env), { force: true });
  } catch {}
}

/** Lets others know that a supervisor of `config` runs here. Throws where that cannot be written. */
export function announceSupervisor(env: NodeJS.ProcessEnv, config: string): void {
  mkdirSync(runtimeFolder(env), { recursive: true, mode: 0o755 });
  const lines = [process.pid, resolve(config), startOf(process.pid), ownNetwork()];
  writeWhole(pidPath(env), `${lines.join('\n')}\n`, { mode: 0o644 });
}

/** It ends. */
export function retractSupervisor(env: NodeJS.ProcessEnv): void {
  for (const path of [pidPath(env), troublesPath(env)])
    try {
      rmSync(path, { force: true });
    } catch {}
}

/** Something that the supervisor cannot do at present, and tries again. */
export interface Trouble {
  readonly what: string;
  /** In milliseconds of the epoch. */
  readonly since: number;
}

const troublesPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'trouble');

/** For `status` and `doctor`; none removes the file. Throws where that cannot be. */
export function writeTroubles(env: NodeJS.ProcessEnv, troubles: readonly Trouble[]): void {
  if (troubles.length === 0) rmSync(troublesPath(env), { force: true });
  else writeWhole(troublesPath(env), `${JSON.stringify(troubles)}\n`, { mode: 0o644 });
}

/** What the supervisor that runs here has trouble with, the worst first; none where none runs. */
export function readTroubles(env: NodeJS.ProcessEnv): readonly Trouble[] {
  if (!runningSupervisor(env)) return [];
  try {
    const read: unknown = JSON.parse(readPlain(troublesPath(env)));
    return Array.isArray(read) ? read.filter(isTrouble) : [];
  } catch {
    return [];
  }
}

function isTrouble(value: Partial<Trouble> | null): value is Trouble {
  return typeof value?.what === 'string' && typeof value.since === 'number';
}

export interface RunningSupervisor {
  readonly pid: number;
  /** The file that it follows, an absolute path. */
  readonly config: string;
}

/** The supervisor of this network, if one runs: not whoever has its number by now. */
export function runningSupervisor(env: NodeJS.ProcessEnv): RunningSupervisor | undefined {
  try {
    const [number, config = '', start, network] = readPlain(pidPath(env)).split('\n');
    const pid = Number(number);
    return start && startOf(pid) === start && network === ownNetwork() ? { pid, config } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a supervisor follows the file of that path, by whatever way it leads there. */
export function follows({ config }: RunningSupervisor, path: string): boolean {
  const real = (name: string) => (existsSync(name) ? realpathSync(name) : resolve(name));
  return real(config) === real(path);
}
