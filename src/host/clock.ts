/**
 * Milliseconds since some moment of this boot, the same in all processes. Setting the clock does not change them. Like the
 * kernel's own time-outs, they stand still while the machine sleeps.
 */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
