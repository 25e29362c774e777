/**
 * Milliseconds since some moment of this boot, the same in all processes. No setting of the clock changes them, and like the
 * kernel's own time-outs they stand still while the machine sleeps.
 */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
