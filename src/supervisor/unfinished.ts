import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { bootId } from '../host/clock.ts';
import { readPlainBytes, writeWhole } from '../host/files.ts';
import { runtimeFolder } from '../host/hold.ts';
import { isPacked, type Known, pack, unpack } from './clients.ts';

/**
 * The clients of a crowd, from before the guards of their table are back until they are in again themselves. If that fails or this
 * process is killed in between, the next load goes on.
 */
const pathOf = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'clients');

/** If this fails, a process that is killed now loses them, as it does while there is no table. */
export function writeUnfinished(env: NodeJS.ProcessEnv, { table, packed, seen, recent }: Known): void {
  try {
    const all = { table, packed, seen, recent: pack(recent), boot: bootId() };
    writeWhole(pathOf(env), serialize(all), { mode: 0o600 });
  } catch {}
}

/**
 * Undefined if there are none, or if they make no sense. Those of an earlier boot make none: `monotonic` counts from the start, so their
 * openings would be longer than they were. The folder of a container outlives a boot.
 */
export function readUnfinished(env: NodeJS.ProcessEnv): Known | undefined {
  try {
    const { table, packed, seen, recent, boot } = deserialize(readPlainBytes(pathOf(env))) as Record<
      string,
      unknown
    >;
    if (boot !== bootId()) return undefined;
    if (!isPacked(packed) || !isPacked(recent) || typeof seen !== 'number') return undefined;
    return {
      table: typeof table === 'string' ? table : undefined,
      packed: { ...packed, bytes: packed.bytes.slice() },
      seen,
      recent: [...unpack(recent)],
    };
  } catch {
    return undefined;
  }
}

/** False if they are still there. A later load tries again. */
export function forgetUnfinished(env: NodeJS.ProcessEnv): boolean {
  try {
    rmSync(pathOf(env), { force: true });
    return true;
  } catch {
    return false;
  }
}
