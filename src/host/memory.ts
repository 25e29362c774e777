import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { madvise, mallocTrim } from '../libc/libc.ts';

/** For V8's `gc`. An older V8, as in Node.js 20, does not know the flavor and collects as usual. */
const LAST_RESORT = { type: 'major', execution: 'sync', flavor: 'last-resort' } as const;

let collector: ((how?: typeof LAST_RESORT) => void) | undefined;

/**
 * Makes V8 free memory that this thread no longer uses. By itself, V8 first lets a small heap grow to several times the
 * memory in use. As a last resort V8 collects as often as that frees memory, and moves what is left together.
 */
export function collectGarbage(how?: typeof LAST_RESORT): void {
  if (!collector) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc'); // with it V8 refuses compiled code that was kept
  }
  collector(how);
}

const SIZE_FIRST = '--optimize-for-size';

/**
 * Makes V8 collect garbage less often, with which a large load otherwise spends a quarter of its time. The flag counts for all
 * threads, so the one that goes on takes this back by {@link restoreFlags}. Meanwhile V8 refuses compiled code that was kept.
 */
export function favourSpeed(): void {
  setFlagsFromString(`--no-${SIZE_FIRST.slice(2)}`);
}

/** Gives V8 the flags again that the process was started with. */
export function restoreFlags(): void {
  if (process.execArgv.includes(SIZE_FIRST)) setFlagsFromString(SIZE_FIRST);
}

/** MADV_DONTNEED, asm-generic/mman-common.h */
const MADV_DONTNEED = 4;

/** By then what a load began has ended, in milliseconds after it. */
const REST = 15_000;

/** How long after that the code that runs at rest has run, and was compiled again if it had to be, in milliseconds. */
const SETTLED = 60_000;

let resting: NodeJS.Timeout | undefined;

/** V8 throws away bytecode that did not run between six collections. A last resort is two or more. */
let collections = 3;

/**
 * Gives memory that a load left behind back to the system: now, when its garbage is collected, and once more when that has
 * settled. It is the part of the C library's heap that an ended thread had, and pages of the program's files, such as code
 * that runs only at a load or for the collector. The kernel maps those pages again when they are needed. After the first
 * load, bytecode of the start goes, too. Later it stays, since each load would have to compile its part again.
 */
export function giveBackMemory(): void {
  giveBack();
  clearTimeout(resting);
  resting = setTimeout(() => {
    for (; collections > 0; collections--) collectGarbage(LAST_RESORT);
    collections = 1;
    giveBack();
    resting = setTimeout(giveBack, SETTLED).unref();
  }, REST).unref();
}

function giveBack(): void {
  mallocTrim();
  try {
    const mappings = unchangedMappings(readFileSync('/proc/self/smaps', 'latin1'));
    /$/.exec(''); // V8 keeps the text of the last match
    for (const { start, end } of mappings) madvise(start, end - start, MADV_DONTNEED);
  } catch {} // a container may hide it
}

/** The private mappings of files, from the text of proc_pid_smaps(5), that are read-only and were never written. */
export function unchangedMappings(smaps: string): { readonly start: number; readonly end: number }[] {
  return smaps.split(/\n(?=[0-9a-f]+-)/).flatMap(mapping => {
    const [, start = '', end = ''] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]/.exec(mapping) ?? [];
    // a page that was written and is swapped out counts as swap alone
    const isUnchanged = /^Anonymous: +0 kB$/m.test(mapping) && !/^Swap: +[1-9]/m.test(mapping);
    return start && isUnchanged ? [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) }] : [];
  });
}
