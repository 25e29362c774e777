import { setTimeout as delay } from 'node:timers/promises';
import type { Told } from '../events/event.ts';
import { followEvents } from '../events/follow.ts';
import { type Happening, happeningText } from '../ruleset/happenings.ts';

/** What two looks at the kernel show, and what the supervisor told in between. */
export type Seen = Happening | { readonly event: 'told'; readonly told: Told };

export function seenText(seen: Seen): string {
  return seen.event === 'told' ? seen.told.msg : happeningText(seen);
}

/** So much may be told between two looks; under a flood nobody reads more. */
const MOST = 200;

/** The supervisor's events, where one runs and lets us read: each is a reason to look at once. */
export class Hearing {
  #told: Told[] = [];
  #wake = new AbortController();

  /** Follows the stream at that socket until the signal. */
  constructor(path: string, signal: AbortSignal) {
    void this.#follow(path, signal);
  }

  async #follow(path: string, signal: AbortSignal): Promise<void> {
    for await (const message of followEvents(path, signal)) {
      if (message.is !== 'told') continue;
      if (this.#told.length < MOST) this.#told.push(message.told);
      this.#wake.abort();
    }
  }

  /** What was told since the last time. */
  take(): readonly Told[] {
    const told = this.#told;
    this.#told = [];
    this.#wake = new AbortController();
    return told;
  }

  /** Waits so many milliseconds, or until something is told, or the signal. */
  async wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
    const wake = this.#wake;
    const end = () => wake.abort();
    if (signal?.aborted) return;
    signal?.addEventListener('abort', end);
    await delay(milliseconds, undefined, { signal: wake.signal }).catch(() => {}); // told
    signal?.removeEventListener('abort', end);
  }
}
