import { keepLastGood, lastGoodPath } from '../host/last-good.ts';
import { pauseAfter } from './pauses.ts';

/** Keeps the loaded configuration for a boot with a bad file. A load tries that first; if it fails, this goes on trying. */
export class Keeping {
  readonly #path: string | undefined;
  /** How often it failed, and when to try again; undefined if it is kept. */
  #failed: { readonly times: number; readonly again: number } | undefined;

  constructor(env: NodeJS.ProcessEnv) {
    this.#path = lastGoodPath(env);
  }

  get isFailing(): boolean {
    return this.#failed !== undefined;
  }

  /** After a load; `now` is as `monotonic` counts. */
  tried(isKept: boolean, now: number): void {
    this.#failed = isKept ? undefined : { times: 1, again: now + pauseAfter(1) };
  }

  /** To be called once a second. */
  look(loaded: Uint8Array | undefined, now: number): void {
    if (!this.#failed || this.#failed.again > now) return;
    const times = this.#failed.times + 1;
    const isKept = this.#path === undefined || !loaded || keepLastGood(this.#path, loaded).length === 0;
    this.#failed = isKept ? undefined : { times, again: now + pauseAfter(times) };
  }
}
