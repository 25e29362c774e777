/**
 * One after the other: who knocks on an address while another process of the same user does would put both back to the start.
 *
 * This is Lamport's bakery, with a file for each place in the queue: `KEY-NUMBER-PID-START`. Nobody writes a file of
 * somebody else, and no name comes twice; so whoever sees that a process is gone may take its place away, and a lock file's
 * classic fault, that two find the same dead one and one of them removes the other's new one, has no place to happen. It
 * needs nothing of the system but files and process ids.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readOr } from '../host/proc.ts';

interface Place {
  readonly name: string;
  readonly key: string;
  /** 0 while it is being chosen: all wait for that. */
  readonly number: number;
  readonly pid: number;
  /** When the process began, since ids come again; `0` where the system does not say. */
  readonly start: string;
}

export interface Turn {
  /** Others were before us. */
  readonly waited: boolean;
  readonly end: () => void;
}

/** Milliseconds between two looks at who is before us. */
const LOOK = 20;

/** What only one of a user's processes does at a time, in a folder of that user: knocks on these addresses, for one. */
export interface Line {
  readonly folder: string;
  readonly keys: readonly string[];
}

/** Whether somebody has a turn at one of the keys, or waits for it. */
export function isQueue({ folder, keys }: Line): boolean {
  return keys.some(key => queue(folder, key).length > 0);
}

/**
 * Resolves when no living process of this user is before us at any of the keys; rejects with an AbortError. `onWait` is called when it has to wait. Where no file can be written nobody waits: to disturb others is better
 * than not to come in.
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
    // always in this order: else two could wait for each other
    for (const key of keys.toSorted()) {
      const place = enter(folder, key);
      if (place === undefined) continue;
      taken.push(place.path);
      // a folder that changes while it is read may hide a name: so it is read twice
      while (place.isBehind() || place.isBehind()) await wait();
    }
  } catch (error) {
    end();
    throw error;
  }
  return { waited, end };
}

/** Takes the last place; undefined where no file can be written. */
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

/** The places of the living, the first one first; none where they cannot be read. Takes those of the dead away. */
function queue(folder: string, key: string): readonly Place[] {
  const living = list(folder).filter(place => isAlive(place) || remove(join(folder, place.name)));
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

/** What cannot be removed is of somebody else, and in nobody's way. */
function remove(path: string): false {
  try {
    rmSync(path, { force: true });
  } catch {}
  return false;
}

/** An address has colons, which no name of a file has on Windows. */
function fileName(key: string): string {
  return key.replace(/[^\w.]/g, '_');
}

function readPlace(name: string): Place | undefined {
  const [, key, number, pid, start] = /^([\w.]+)-(\d+)-(\d+)-(\d+)$/.exec(name) ?? [];
  if (key === undefined || start === undefined) return undefined;
  return { name, key, number: Number(number), pid: Number(pid), start };
}

function isAlive({ pid, start }: Place): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  return startOf(pid) === start;
}

/**
 * In ticks since the boot, on Linux (proc(5), field 22 of stat); `0` elsewhere. None for a process that does nothing any
 * more: a zombie, or one that is stopped, such as a login after Ctrl-Z.
 */
function startOf(pid: number): string | undefined {
  const stat = readOr(`/proc/${pid}/stat`, '');
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // a name may hold anything
  return /[ZXTt]/.test(state ?? '') ? undefined : (fields[18] ?? '0');
}
