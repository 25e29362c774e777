import { readFileSync } from 'node:fs';

/** The sum of the proportional set sizes of processes, in MiB. */
export function pss(pids: readonly number[]): number {
  return pids.reduce(
    (sum, pid) =>
      sum + Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024,
    0,
  );
}
