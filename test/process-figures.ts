/** Memory and descriptors of a process, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Memory that no other process shares, in kB. */
export const privateMemory = (pid: number): number =>
  [...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce(
    (sum, [, kilobytes]) => sum + Number(kilobytes),
    0,
  );

export const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
