import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readPlain, writeWhole } from './files.ts';

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

/** The hold that is in force; undefined where there is none, or it is over, or it says nothing understandable. */
export function readHold(env: NodeJS.ProcessEnv): Hold | undefined {
  if (!existsSync(holdPath(env))) return undefined; // it is asked for every second: an exception takes longer
  try {
    const { reason, until } = JSON.parse(readPlain(holdPath(env))) as Partial<Hold>;
    if (typeof reason !== 'string') return undefined;
    if (typeof until === 'number') return until > Date.now() ? { reason, until } : undefined;
    return { reason, until: null };
  } catch {
    return undefined;
  }
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

/** Lets others know that a supervisor of `config` runs here. Does nothing where the folder cannot be made. */
export function announceSupervisor(env: NodeJS.ProcessEnv, config: string): () => void {
  try {
    mkdirSync(runtimeFolder(env), { recursive: true, mode: 0o755 });
    writeWhole(pidPath(env), `${process.pid}\n${resolve(config)}\n`, { mode: 0o644 });
  } catch {
    return () => {};
  }
  return () => rmSync(pidPath(env), { force: true });
}

export interface RunningSupervisor {
  readonly pid: number;
  /** The file that it follows, an absolute path. */
  readonly config: string;
}

/** The supervisor that runs here, if one does. */
export function runningSupervisor(env: NodeJS.ProcessEnv): RunningSupervisor | undefined {
  try {
    const [line, config = ''] = readPlain(pidPath(env)).split('\n');
    const pid = Number(line);
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return pid > 0 && words.includes('run') ? { pid, config } : undefined;
  } catch {
    return undefined;
  }
}
