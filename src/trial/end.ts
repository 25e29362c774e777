import { closeSync, fstatSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openPlain, writeWhole } from '../host/files.ts';
import { runtimeFolder } from '../host/hold.ts';
import type { Shown } from './witness.ts';

/** How a trial ended. */
export interface End {
  readonly is: 'confirmed' | 'undone';
  /** The knock that confirmed it, where one did. */
  readonly shown?: Shown;
}

const endPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'tried');

/**
 * Leaves a word about how a trial ended for those who wait for that; without it they cannot tell whether somebody took the
 * notes away. Where it cannot be written they look at the kernel and the file instead, and one of an earlier trial goes.
 */
export function writeEnd(env: NodeJS.ProcessEnv, id: string, end: End): void {
  try {
    writeWhole(endPath(env), JSON.stringify({ id, ...end }), { mode: 0o600 });
  } catch {
    rmSync(endPath(env), { force: true });
  }
}

/** Undefined where nobody left a word about that trial. */
export function readEnd(env: NodeJS.ProcessEnv, id: string): End | undefined {
  try {
    const descriptor = openPlain(endPath(env));
    try {
      if (fstatSync(descriptor).uid !== process.geteuid?.()) return undefined; // it leads whoever believes it
      const text = readFileSync(descriptor, 'utf8');
      const { id: of, ...end } = JSON.parse(text) as End & { readonly id: string };
      return of === id ? end : undefined;
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}
