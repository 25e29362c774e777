/**
 * One process after the other: two processes of a user that knock on the same address would put each other back to the start.
 *
 * This is Lamport's bakery, with a file for each place in the queue: `KEY-NUMBER-PID-START`. No process writes another's file,
 * and no name comes twice. So a process that finds another one gone may remove its place. A lock file has a classic fault: two
 * processes find the same dead lock, and one of them removes the other's new one. That cannot happen here. The queue needs
 * only files and process ids from the system.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readOr } from '../host/proc.ts';

interface Place {
  readonly name: string;
  readonly key: string;
  /** 0 while the process chooses its number. All others wait for that. */
  readonly number: number;
  readonly pid: number;
  /** When the process began, since process ids are used again; `0` if the system does not say. */
  readonly start: string;
}

interface Turn {
  /** Whether other processes were before us. */
  readonly waited: boolean;
  readonly end: () => void;
}

/** Milliseconds between two looks at the queue before us. */
const LOOK = 20;

/** Something that only one process of a user may do at a time, in a folder of that user, such as knocks on these addresses. */
export interface Line {
  readonly folder: string;
  readonly keys: readonly string[];
}

/** Whether any process has a turn at one of the keys, or waits for it. */
export function isQueue({ folder, keys }: Line): boolean {
  return keys.some(key => queue(folder, key).length > 0);
}

/**
 * Resolves when no living process of this user is before us at any of the keys. Rejects with an AbortError. It calls `onWait`
 * if it has to wait. If no file can be written it does not wait: better to disturb others than not to come in.
 */
export async function takeTurn(
  { folder, keys }: Line,
  signal: AbortSignal,
  onWait: () => void,
): Promise<Turn> {
  const taken: string[] = [];
  const end = () => {
    for (const path of taken) remove(path);
  };
  let waited = false;
  const wait = async () => {
    if (!waited) onWait();
    waited = true;
    await delay(LOOK, undefined, { signal });
  };
  try {
    // always in the same order, or two processes could wait for each other
    for (const key of keys.toSorted()) {
      const place = enter(folder, key);
      if (place === undefined) continue;
      taken.push(place.path);
      // a folder that changes during a read may hide a name, so we read it twice
      while (place.isBehind() || place.isBehind()) await wait();
    }
  } catch (error) {
    end();
    throw error;
  }
  return { waited, end };
}

/** Takes the last place; undefined if no file can be written. */
function enter(folder: string, key: string) {
  const name = (number: number) => `${fileName(key)}-${number}-${process.pid}-${startOf(process.pid)}`;
  const choosing = join(folder, name(0));
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(choosing, '', { mode: 0o600 });
    const mine = name(1 + Math.max(0, ...queue(folder, key).map(({ number }) => number)));
    const path = join(folder, mine);
    renameSync(choosing, path);
    return { path, isBehind: () => queue(folder, key).findIndex(place => place.name === mine) > 0 };
  } catch {
    remove(choosing);
    return undefined;
  }
}

/** The places of living processes, the first one first; none if they cannot be read. Removes those of dead processes. */
function queue(folder: string, key: string): readonly Place[] {
  const living = list(folder).filter(place => {
    const path = join(folder, place.name);
    return isAlive(place, path) || remove(path);
  });
  return living
    .filter(place => place.key === fileName(key))
    .sort((a, b) => a.number - b.number || a.pid - b.pid);
}

function list(folder: string): readonly Place[] {
  try {
    return readdirSync(folder).flatMap(name => readPlace(name) ?? []);
  } catch {
    return [];
  }
}

/** Removes a place. One that cannot be removed belongs to another user, and blocks no queue. */
function remove(path: string): false {
  try {
    rmSync(path, { force: true });
  } catch {}
  return false;
}

/** An address has colons, which names of files cannot have on Windows. */
function fileName(key: string): string {
  return key.replace(/[^\w.]/g, '_');
}

function readPlace(name: string): Place | undefined {
  const [, key, number, pid, start] = /^([\w.]+)-(\d+)-(\d+)-(\d+)$/.exec(name) ?? [];
  if (key === undefined || start === undefined) return undefined;
  return { name, key, number: Number(number), pid: Number(pid), start };
}

function isAlive({ pid, start }: Place, path: string): boolean {
  const its = startOf(pid);
  try {
    process.kill(pid, 0);
    return its === start;
  } catch (error) {
    // EPERM: another user's process, as after sudo. Or it only has the id of ours, which a crash ended: then the file is ours
    const isOthers = error instanceof Error && 'code' in error && error.code === 'EPERM' && !isOurs(path);
    return isOthers && (its === start || its === '0'); // /proc may hide its start
  }
}

function isOurs(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.uid === process.geteuid?.();
}

/**
 * When a process began, in ticks since boot, on Linux (proc(5), field 22 of stat); `0` elsewhere. Undefined for a process that
 * does nothing any more: a zombie, or a stopped one, such as a login after Ctrl-Z.
 */
function startOf(pid: number): string | undefined {
  const stat = readOr(`/proc/${pid}/stat`, '');
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // a name may hold anything
  return /[ZXTt]/.test(state ?? '') ? undefined : (fields[18] ?? '0');
}
