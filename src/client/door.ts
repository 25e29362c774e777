import type { Socket } from 'node:net';
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import type { Port } from '../config/types.ts';
import { Attempts } from './attempts.ts';
import { ClientError } from './error.ts';
import { knockAll } from './knock.ts';
import { isQueue, takeTurn } from './queue.ts';
import { inTurns } from './resolve.ts';

/** A port behind knocks, as a client sees it. */
export interface Door {
  /** What people call the host, for messages. */
  readonly name: string;
  /** At least one. They are knocked on {@link inTurns}, and the one that opens is taken. */
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
  /** Called before it knocks once more, on these addresses. */
  readonly onAgain: (addresses: readonly string[]) => void;
  /** Says where this user's processes wait for each other. */
  readonly env: NodeJS.ProcessEnv;
}

export interface Opened {
  /** Half-open allowed, without delay, paused. */
  readonly socket: Socket;
  /** How often it was knocked, from the beginning to the end. */
  readonly rounds: number;
}

/** What it has done so far, for messages. */
interface Progress {
  rounds: number;
  /** Others of this user are knocking. */
  waiting: boolean;
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
  const attempts = new Attempts(door.port);
  const over = new AbortController();
  const progress: Progress = { rounds: 0, waiting: false };
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    const what = `is still closed after ${patience.timeout / 1000} s`;
    timer = setTimeout(() => reject(closedError(door, attempts, progress, what)), patience.timeout);
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

/**
 * Knocks once, on the addresses that any program takes first, when no other process of this user does; gives those that it
 * could send to. Throws ClientError when others take longer than `timeout`, and when nothing can be sent.
 */
export async function knockOnce(
  { name, addresses, knocks, gap }: Omit<Door, 'port' | 'advice'>,
  { timeout, env }: Pick<Patience, 'timeout' | 'env'>,
): Promise<readonly string[]> {
  const [first = []] = inTurns(addresses);
  const turn = await takeTurn(env, first, AbortSignal.timeout(timeout), () => {}).catch(() => {
    throw new ClientError(`others were still knocking on ${name} after ${timeout / 1000} s: try again`);
  });
  try {
    return await knockAll(first, knocks, gap);
  } finally {
    turn.end();
  }
}

/** Never resolves: rejects with the signal, or when there is no hope. */
async function insist(
  door: Door,
  { tryFirst, onAgain, timeout, env }: Patience,
  attempts: Attempts,
  progress: Progress,
  signal: AbortSignal,
): Promise<never> {
  if (door.knocks.length === 0) {
    await attempts.start(door.addresses, signal);
    throw closedError(door, attempts, progress, 'is closed');
  }
  const tryOut = async (addresses: readonly string[]) => {
    await Promise.race([attempts.start(addresses, signal), delay(HEAD_START, undefined, { signal })]);
    await immediate(); // on a busy machine the answer may be there, and not yet looked at
    signal.throwIfAborted();
  };
  // while others knock it is closed, and what they open for single use is theirs
  if (tryFirst && !isQueue(env, door.addresses)) await tryOut(door.addresses);
  const turns = inTurns(door.addresses);
  const share = turns.length > 1 ? timeout / 2 / turns.length : LONGEST_WAIT;
  for (let factor = 1; ; factor *= 2) {
    const unreachable: ClientError[] = [];
    for (const addresses of turns) {
      const turn = await takeTurn(env, addresses, signal, () => {
        attempts.giveUp();
        progress.waiting = true;
      });
      try {
        progress.waiting = false;
        if (turn.waited) await tryOut(addresses);
        if (progress.rounds++ > 0) onAgain(addresses);
        const gap = Math.min(door.gap * factor, Math.max(door.gap, LONGEST_GAP));
        await knockAll(addresses, door.knocks, gap, signal);
        const wait = Math.min(FIRST_WAIT * factor, LONGEST_WAIT, share);
        for (const pause of [SECOND_TRY, wait - SECOND_TRY]) {
          attempts.start(addresses, signal).catch(() => {}); // the delay ends with the same signal
          await delay(pause, undefined, { signal });
        }
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        unreachable.push(error); // there may be other addresses
      } finally {
        turn.end();
      }
    }
    if (unreachable[0] && unreachable.length === turns.length) throw unreachable[0];
  }
}

function closedError(
  { name, port, advice }: Door,
  { failure }: Attempts,
  { waiting }: Progress,
  what: string,
): ClientError {
  const look = waiting ? 'other logins are still knocking' : lookOf(failure);
  return new ClientError(`${name} port ${port} ${what} (${look}): ${advice}`);
}

function lookOf(failure: string | undefined): string {
  if (failure === undefined) return 'it does not answer';
  return failure === 'ECONNREFUSED' ? 'it refuses connections' : failure;
}
