import { chmodSync, chownSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { bootId, isOfThisBoot, monotonic } from './clock.ts';
import { holdsNothing, readPlain, writeWhole } from './files.ts';
import { isSameFile } from './mounts.ts';
import { ownNetwork } from './network.ts';
import { startOf } from './proc.ts';
import { findUser, SERVICE_USER } from './service-user.ts';

/** A request to the supervisor to leave the kernel as it is: after `unload`, and during a trial. */
export interface Hold {
  /** For people: `unloaded by hand`. */
  readonly reason: string;
  /** When it ends by itself, for a trial, in milliseconds of the epoch. Null for a hold that lasts until the next load. */
  readonly until: number | null;
  /**
   * When it began, and when it ends, as {@link monotonic} counts: the clock may be set meanwhile. Version 1.0.0 wrote neither, so
   * `until` counts then.
   */
  readonly lasts?: { readonly from: number; readonly to: number };
}

/** The folder that systemd makes for the service: /run/knockd-nft. */
export function runtimeFolder({ RUNTIME_DIRECTORY }: NodeJS.ProcessEnv): string {
  return RUNTIME_DIRECTORY?.split(':')[0] || '/run/knockd-nft';
}

/**
 * Makes the folder if there is none. It belongs to the services then, too: systemd would give them a folder of root's with all that is
 * in it, also the notes of a trial, which root takes from nobody else.
 */
export function makeRuntimeFolder(env: NodeJS.ProcessEnv): void {
  const folder = runtimeFolder(env);
  if (mkdirSync(folder, { recursive: true, mode: 0o755 }) === undefined) return;
  chmodSync(folder, 0o755); // whatever the umask
  const user = process.geteuid?.() === 0 ? findUser(SERVICE_USER) : undefined;
  if (user) chownSync(folder, user.uid, user.gid);
}

const holdPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'hold');
/** The socket that other programs read events from. */
export const eventsPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'events');
/** For node_exporter's textfile collector. */
export const metricsPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'metrics.prom');
/** Which supervisor runs here. */
export const pidPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'supervisor.pid');

/** The last moment that a Date can have, in milliseconds of the epoch (ECMA-262, time values). */
const LAST = 8.64e15;

/**
 * The hold that is in force; undefined if there is none, if it is over, or if its content makes no sense. Throws if it seems to
 * be there but cannot be read at this moment.
 */
export function readHold(env: NodeJS.ProcessEnv): Hold | undefined {
  let text: string;
  try {
    // we ask every second, and an exception takes longer
    if (!statSync(holdPath(env), { throwIfNoEntry: false })) return undefined;
    text = readPlain(holdPath(env));
  } catch (error) {
    if (holdsNothing(error)) return undefined;
    throw error;
  }
  try {
    const { boot, reason, until, lasts } = JSON.parse(text) as Partial<Hold> & { readonly boot?: unknown };
    if (typeof reason !== 'string' || !isOfThisBoot(boot)) return undefined;
    if (typeof until !== 'number') return { reason, until: null };
    if (Math.abs(until) > LAST) return undefined;
    if (lasts) {
      const now = monotonic(); // earlier than `from` after a boot, which version 1.0.0 did not note
      return lasts.from <= now && now < lasts.to ? { reason, until, lasts } : undefined;
    }
    return until > Date.now() ? { reason, until } : undefined;
  } catch {
    return undefined;
  }
}

/** The same, and `otherwise` where it cannot be read at this moment. */
export function readHoldOr<T>(env: NodeJS.ProcessEnv, otherwise: T): Hold | undefined | T {
  try {
    return readHold(env);
  } catch {
    return otherwise;
  }
}

/** `trying /etc/knockd-nft.json.new, until 2026-11-23T12:00:30.000Z` */
export function holdText({ reason, until }: Hold): string {
  return until === null ? reason : `${reason}, until ${new Date(until).toISOString()}`;
}

export function writeHold(env: NodeJS.ProcessEnv, hold: Hold): void {
  makeRuntimeFolder(env);
  writeWhole(holdPath(env), JSON.stringify({ ...hold, boot: bootId() }), { mode: 0o644 }); // the supervisor is another user
}

/** Ends a hold, or restores the one from before a change that failed. If it cannot, it returns a sentence. */
export function bringBackHold(env: NodeJS.ProcessEnv, before: Hold | undefined): string | undefined {
  if (!before) return endHold(env);
  try {
    writeHold(env, before);
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    return `the former hold cannot be written (${why}), so a supervisor loads its file again: "${holdText(before)}"`;
  }
}

/** Ends a hold, if there is one. If it cannot, it returns a sentence, since a supervisor then goes on waiting. */
export function endHold(env: NodeJS.ProcessEnv): string | undefined {
  try {
    rmSync(holdPath(env), { force: true });
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    return `the hold cannot be removed (${why}), so a supervisor leaves the kernel as it is until that ends: remove ${holdPath(env)}`;
  }
}

/**
 * Makes it known that a supervisor of `config` runs here. If another one that runs is known in that folder, it stays, and the answer
 * is false. Throws if that cannot be written.
 */
export function announceSupervisor(env: NodeJS.ProcessEnv, config: string): boolean {
  const known = announced(env);
  if (known && known.pid !== process.pid) return false;
  makeRuntimeFolder(env);
  const lines = [process.pid, resolve(config), startOf(process.pid), ownNetwork(), bootId()];
  writeWhole(pidPath(env), `${lines.join('\n')}\n`, { mode: 0o644 });
  return true;
}

/** Removes what says that this process is the supervisor here, unless another one is by now. */
export function retractSupervisor(env: NodeJS.ProcessEnv): void {
  try {
    const { pid = process.pid } = announced(env) ?? {};
    if (pid !== process.pid) return;
  } catch {}
  for (const path of [pidPath(env), troublesPath(env)])
    try {
      rmSync(path, { force: true });
    } catch {}
}

/** A task that the supervisor cannot do at present, and tries again. */
export interface Trouble {
  readonly what: string;
  /** Since when, in milliseconds of the epoch. */
  readonly since: number;
}

const troublesPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'trouble');

/** Writes the troubles down for `status` and `doctor`. Without any, it removes the file. Throws if that is impossible. */
export function writeTroubles(env: NodeJS.ProcessEnv, troubles: readonly Trouble[]): void {
  if (troubles.length === 0) rmSync(troublesPath(env), { force: true });
  else writeWhole(troublesPath(env), `${JSON.stringify(troubles)}\n`, { mode: 0o644 });
}

/** The troubles of the supervisor that runs here, the worst first; empty if none runs. */
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
  /** The absolute path of the file that it follows. */
  readonly config: string;
}

/** The supervisor of this network, if one runs. Throws if the note cannot be read at this moment. */
export function runningSupervisor(env: NodeJS.ProcessEnv): RunningSupervisor | undefined {
  const known = announced(env);
  return known?.network === ownNetwork() ? { pid: known.pid, config: known.config } : undefined;
}

/** The supervisor that is known in the runtime folder, if it runs. Another process may have got its number, so the start must match. */
function announced(
  env: NodeJS.ProcessEnv,
): (RunningSupervisor & { readonly network: string | undefined }) | undefined {
  let text: string;
  try {
    text = readPlain(pidPath(env));
  } catch (error) {
    if (holdsNothing(error)) return undefined;
    throw error;
  }
  const [number, config = '', start, network, boot] = text.split('\n');
  const pid = Number(number);
  return start && startOf(pid) === start && isOfThisBoot(boot) ? { pid, config, network } : undefined;
}

/** Whether a supervisor follows the file of that path, also if links lead there. */
export function follows({ config }: RunningSupervisor, path: string): boolean {
  return isSameFile(config, path);
}
