import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Port } from '../config/types.ts';
import { Attempts } from './attempts.ts';
import { ClientError } from './error.ts';
import { knockAll } from './knock.ts';

/** A port behind knocks, as a client sees it. */
export interface Door {
  /** What people call the host, for messages. */
  readonly name: string;
  /** At most one of each family; both are knocked on, since any may be taken afterwards. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** Empty where none are known: then it is only waited for. */
  readonly knocks: readonly Port[];
  /** Milliseconds between two knocks, the first time; up to a second when it did not help. */
  readonly gap: number;
  /** What people can do when it stays closed. */
  readonly advice: string;
}

export interface Patience {
  /** Milliseconds in all. */
  readonly timeout: number;
  /** Knock only if the port does not answer without. */
  readonly tryFirst: boolean;
  /** Called before it knocks once more. */
  readonly onAgain: () => void;
}

export interface Opened {
  /** Half-open allowed, without delay, paused. */
  readonly socket: Socket;
  /** How often it was knocked, from the beginning to the end. */
  readonly rounds: number;
}

/** Milliseconds that an open port has to answer before the first knock; a closed one costs as much. */
const HEAD_START = 100;
/** Milliseconds that the port has to open after the last knock; doubled with each round, up to the longest. */
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 4000;
const LONGEST_GAP = 1000;
/** The first try comes right after the last knock, and may overtake it on the way; so there is a second. */
const SECOND_TRY = 200;

/**
 * Knocks until the port opens, and gives the first connection that it accepts: there is no other before it, which
 * would use up the opening of a `singleUse` service. A new round is harmless to one that is under way: the server
 * ignores knocks that it has had. Throws ClientError after `timeout`, and when nothing can be sent.
 */
export async function openDoor(door: Door, patience: Patience): Promise<Opened> {
  const attempts = new Attempts(door.addresses, door.port);
  const over = new AbortController();
  const progress = { rounds: 0 };
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    const what = `is still closed after ${patience.timeout / 1000} s`;
    timer = setTimeout(() => reject(closedError(door, attempts, what)), patience.timeout);
  });
  try {
    const insisting = insist(door, patience, attempts, progress, over.signal);
    return { socket: await Promise.race([attempts.won, insisting, expired]), rounds: progress.rounds };
  } finally {
    clearTimeout(timer);
    over.abort();
    attempts.giveUp();
  }
}

/** Never resolves: rejects with the signal, or when there is no hope. */
async function insist(
  door: Door,
  { tryFirst, onAgain }: Patience,
  attempts: Attempts,
  progress: { rounds: number },
  signal: AbortSignal,
): Promise<never> {
  if (door.knocks.length === 0) {
    await attempts.start(signal);
    throw closedError(door, attempts, 'is closed');
  }
  if (tryFirst) await Promise.race([attempts.start(signal), delay(HEAD_START, undefined, { signal })]);
  for (;;) {
    if (progress.rounds > 0) onAgain();
    const factor = 2 ** progress.rounds++;
    const gap = Math.min(door.gap * factor, Math.max(door.gap, LONGEST_GAP));
    await knockAll(door.addresses, door.knocks, gap, signal);
    for (const pause of [SECOND_TRY, Math.min(FIRST_WAIT * factor, LONGEST_WAIT) - SECOND_TRY]) {
      attempts.start(signal).catch(() => {}); // the delay ends with the same signal
      await delay(pause, undefined, { signal });
    }
  }
}

function closedError({ name, port, advice }: Door, { failure }: Attempts, what: string): ClientError {
  return new ClientError(`${name} port ${port} ${what} (${lookOf(failure)}): ${advice}`);
}

function lookOf(failure: string | undefined): string {
  if (failure === undefined) return 'it does not answer';
  return failure === 'ECONNREFUSED' ? 'it refuses connections' : failure;
}
