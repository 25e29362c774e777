import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { madvise, mallocTrim } from '../libc/libc.ts';

let collector: (() => void) | undefined;

/**
 * Has V8 free now what this thread no longer uses. Left to itself it lets a small heap grow to several times what is in use
 * before it does so.
 */
export function collectGarbage(): void {
  if (!collector) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
  }
  collector();
}

/** MADV_DONTNEED, asm-generic/mman-common.h */
const MADV_DONTNEED = 4;

/**
 * Gives memory that an ended thread left behind back to the system: its part of the C library's heap, and pages of the
 * program's files, such as code that runs only at a load. The kernel maps those pages again when they are needed.
 */
export function giveBackMemory(): void {
  mallocTrim();
  try {
    for (const { start, end } of unchangedMappings(readFileSync('/proc/self/smaps', 'latin1')))
      madvise(start, end - start, MADV_DONTNEED);
  } catch {} // a container may hide it
}

/** The private mappings of files, from the text of proc_pid_smaps(5), that are read-only and were never written. */
export function unchangedMappings(smaps: string): { readonly start: number; readonly end: number }[] {
  return smaps.split(/\n(?=[0-9a-f]+-)/).flatMap(mapping => {
    const [, start = '', end = ''] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]/.exec(mapping) ?? [];
    const isUnchanged = /^Anonymous: +0 kB$/m.test(mapping);
    return start && isUnchanged ? [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) }] : [];
  });
}
