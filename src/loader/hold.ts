import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Asks the supervisor to leave the kernel as it is: after `unload`, and while a `try` is not confirmed. */
export interface Hold {
  /** For people: `unloaded by hand`. */
  readonly reason: string;
  /** When it ends by itself, in milliseconds of the epoch; null for not before the next load. */
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
  try {
    const { reason, until } = JSON.parse(readFileSync(holdPath(env), 'utf8')) as Partial<Hold>;
    if (typeof reason !== 'string') return undefined;
    if (typeof until === 'number') return until > Date.now() ? { reason, until } : undefined;
    return { reason, until: null };
  } catch {
    return undefined;
  }
}

export function writeHold(env: NodeJS.ProcessEnv, hold: Hold): void {
  mkdirSync(dirname(holdPath(env)), { recursive: true, mode: 0o755 });
  writeFileSync(holdPath(env), JSON.stringify(hold));
  chmodSync(holdPath(env), 0o644); // whatever the umask: the supervisor is another user
}

/** Ends a hold; fine if there is none, or it cannot be written here. */
export function endHold(env: NodeJS.ProcessEnv): void {
  try {
    rmSync(holdPath(env), { force: true });
  } catch {}
}

/** Lets others know that a supervisor runs here. Does nothing where the folder cannot be made. */
export function announceSupervisor(env: NodeJS.ProcessEnv): () => void {
  try {
    mkdirSync(runtimeFolder(env), { recursive: true, mode: 0o755 });
    writeFileSync(pidPath(env), `${process.pid}\n`);
  } catch {
    return () => {};
  }
  return () => rmSync(pidPath(env), { force: true });
}

/** The process id of the supervisor that runs here, if one does. */
export function runningSupervisor(env: NodeJS.ProcessEnv): number | undefined {
  try {
    const pid = Number(readFileSync(pidPath(env), 'utf8'));
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return pid > 0 && words.includes('run') ? pid : undefined;
  } catch {
    return undefined;
  }
}
