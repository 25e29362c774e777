import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/types.ts';
import { type Connection, DumpInterruptedError } from '../netlink/connection.ts';
import type { Status } from '../ruleset/status.ts';
import { observe, type Sight } from '../table/observe.ts';
import type { Hearing, Seen } from './hearing.ts';

export interface Look {
  readonly status: Status;
  /** Since the look before. */
  readonly seconds: number;
  /** The supervisor's events since then. */
  readonly told: readonly Seen[];
}

/** A pause lasts at least this many times as long as the work before it. So we take at most a fifth of one CPU. */
export const PAUSE = 4;

/**
 * Looks at the kernel every `interval` milliseconds, and when the supervisor reports an event, until the signal. Asks
 * `wanted` for the configuration each time.
 */
export async function* looks(
  connection: Connection,
  wanted: () => Promise<Config | undefined>,
  interval: number,
  hearing: Hearing,
  signal?: AbortSignal,
): AsyncGenerator<Look, void> {
  let sight: Sight | undefined;
  for (let last = performance.now(); !signal?.aborted; ) {
    const start = performance.now();
    try {
      const told = hearing.take().map(it => ({ event: 'told', told: it }) as const);
      sight = await observe(connection, await wanted(), sight);
      yield { status: sight.status, seconds: (start - last) / 1000, told };
      last = start;
    } catch (error) {
      if (!(error instanceof DumpInterruptedError)) throw error; // others change the ruleset all the time
    }
    const took = performance.now() - start;
    await delay(PAUSE * took, undefined, { ...(signal && { signal }) }).catch(() => {}); // ended
    await hearing.wait(Math.max(interval - (PAUSE + 1) * took, 0), signal);
  }
}
