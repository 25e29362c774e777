/** Waits longer and longer with repairs when somebody undoes them again and again. */
export class Repairs {
  /** When the last ones were, in milliseconds as `monotonic` counts them. */
  #times: number[] = [];

  happened(now: number): void {
    this.#times = [...this.#times.filter(time => time > now - WINDOW), now];
  }

  /** Whether it is time to look, and repair, again. */
  mayLookAt(now: number): boolean {
    const recent = this.#times.filter(time => time > now - WINDOW);
    const excess = recent.length - PATIENCE;
    const last = recent.at(-1);
    if (excess < 0 || last === undefined) return true;
    return now - last >= Math.min(LONGEST, 1000 * 2 ** (excess + 1));
  }
}

/** So many repairs in so many milliseconds are nothing to wait for. */
const PATIENCE = 10;
const WINDOW = 60_000;
const LONGEST = 30_000;
