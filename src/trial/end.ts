import { fstatSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { closeRead, openPlain, writeWhole } from '../host/files.ts';
import { runtimeFolder } from '../host/hold.ts';
import type { Shown } from './witness.ts';

/** How a trial ended. */
export interface End {
  readonly is: 'confirmed' | 'undone';
  /** The knock that confirmed it, if one did. */
  readonly shown?: Shown;
}

const endPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'tried');

/**
 * Notes how a trial ended, for the processes that wait for that. Without the note they cannot tell an end from notes that
 * were removed. If it cannot be written, they look at the kernel and the file instead, and the note of an earlier trial goes.
 */
export function writeEnd(env: NodeJS.ProcessEnv, id: string, end: End): void {
  try {
    writeWhole(endPath(env), JSON.stringify({ id, ...end }), { mode: 0o600 });
  } catch {
    rmSync(endPath(env), { force: true });
  }
}

/** How that trial ended; undefined if there is no note about it. */
export function readEnd(env: NodeJS.ProcessEnv, id: string): End | undefined {
  try {
    const descriptor = openPlain(endPath(env));
    try {
      if (fstatSync(descriptor).uid !== process.geteuid?.()) return undefined; // a false note would mislead its readers
      const text = readFileSync(descriptor, 'utf8');
      const { id: of, ...end } = JSON.parse(text) as End & { readonly id: string };
      return of === id ? end : undefined;
    } finally {
      closeRead(descriptor);
    }
  } catch {
    return undefined;
  }
}
