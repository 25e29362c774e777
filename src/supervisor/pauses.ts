/** How long to wait before something is tried again. Milliseconds; times as `monotonic` counts them. */

const LONGEST = 30_000;

/** What failed so many times in a row waits longer each time: 1 s, 2 s, 4 s, and so on. */
export function pauseAfter(failures: number): number {
  return Math.min(LONGEST, 1000 * 2 ** (failures - 1));
}

/** So many repairs in so many milliseconds are nothing to wait for. */
const PATIENCE = 10;
const WINDOW = 60_000;

/** Those repairs that still count: somebody who undoes them again and again has to wait longer and longer. */
export function recentRepairs(times: readonly number[], now: number): readonly number[] {
  return times.filter(time => time > now - WINDOW);
}

/** When the next repair may be, after those at `times`. */
export function nextRepair(times: readonly number[], now: number): number {
  const recent = recentRepairs(times, now);
  const last = recent.at(-1);
  return last === undefined || recent.length < PATIENCE
    ? now
    : last + Math.min(LONGEST, 1000 * 2 ** (recent.length - PATIENCE + 1));
}
