/** How long to wait before trying something again, in milliseconds. Times are as `monotonic` counts them. */

const LONGEST = 30_000;

/** How long to wait after a number of failures in a row: 1 s, 2 s, 4 s, and so on. */
export function pauseAfter(failures: number): number {
  return Math.min(LONGEST, 1000 * 2 ** (failures - 1));
}

/** After how many repairs within the window the next one has to wait. The window is in milliseconds. */
const PATIENCE = 10;
const WINDOW = 60_000;

/** The repairs that still count. If another program undoes them again and again, each waits longer than the one before. */
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
