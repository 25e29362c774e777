import { setTimeout as delay } from 'node:timers/promises';
import type { Told } from '../events/event.ts';
import { followEvents } from '../events/follow.ts';
import { type Happening, happeningText } from '../ruleset/happenings.ts';

/** A happening that two looks at the kernel show, or an event that the supervisor reported in between. */
export type Seen = Happening | { readonly event: 'told'; readonly told: Told };

export function seenText(seen: Seen): string {
  return seen.event === 'told' ? seen.told.msg : happeningText(seen);
}

/** The most events to keep between two looks. Under a flood nobody reads more. */
const MOST = 200;

/** The supervisor's events, if one runs and lets us read. Each is a reason to look at once. */
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

  /** The events since the last call. */
  take(): readonly Told[] {
    const told = this.#told;
    this.#told = [];
    this.#wake = new AbortController();
    return told;
  }

  /** Waits until the time is over, an event comes, or the signal. */
  async wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
    const wake = this.#wake;
    const end = () => wake.abort();
    if (signal?.aborted) return;
    signal?.addEventListener('abort', end);
    await delay(milliseconds, undefined, { signal: wake.signal }).catch(() => {}); // told
    signal?.removeEventListener('abort', end);
  }
}
