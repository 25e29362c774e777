import type { Socket } from 'node:net';
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import type { Port } from '../inet/port.ts';
import { Attempts } from './attempts.ts';
import { ClientError } from './error.ts';
import type { TokenEntry } from './hosts.ts';

/** The key to a host. */
export type Key = Knocks | Token | Unknown;

export interface Knocks {
  readonly kind: 'knocks';
  /** At least one. */
  readonly knocks: readonly Port[];
  /** Milliseconds between two knocks in the first round. Later rounds take longer, up to a second. */
  readonly gap: number;
}

export interface Token {
  readonly kind: 'token';
  readonly token: TokenEntry;
}

/** No key: the client only tries to connect. */
interface Unknown {
  readonly kind: 'unknown';
}

/** A host behind a key, as a client sees it. */
export interface Destination<K extends Key = Key> {
  /** The user's name for the host, for messages. */
  readonly name: string;
  /** At least one, in order of preference. */
  readonly addresses: readonly string[];
  readonly key: K;
}

/** A port of a host. */
export interface Door<K extends Key = Key> extends Destination<K> {
  readonly port: number;
  /** Advice for people if the port stays closed. */
  readonly advice: string;
}

export interface Patience {
  /** Milliseconds in all, without the time that {@link Opening.extend} adds. */
  readonly timeout: number;
  /** Knock only if the port does not answer without it. */
  readonly tryFirst: boolean;
  /** Reports progress, such as another round of knocks. */
  readonly tell: (text: string) => void;
  /** The environment, which says where this user's processes wait for each other. */
  readonly env: NodeJS.ProcessEnv;
}

export interface Opened {
  /** Half-open allowed, without delay, paused. */
  readonly socket: Socket;
  /** How many rounds of knocks, or tokens, it took. */
  readonly rounds: number;
}

/** An opening under way. */
export interface Opening {
  readonly attempts: Attempts;
  /** Ends it. */
  readonly signal: AbortSignal;
  rounds: number;
  /** The reason if it waits for something other than the port, for a message. */
  waiting: string | undefined;
  /** Gives it that many milliseconds more. */
  readonly extend: (milliseconds: number) => void;
}

/** Uses the key until the opening ends. Rejects with its signal, or when there is no hope. */
type Insist<K extends Key> = (door: Door<K>, patience: Patience, opening: Opening) => Promise<never>;

/** How long an open port has to answer before the first knock, in milliseconds. A closed port costs the same time. */
const HEAD_START = 100;
/** The first attempt comes right after the last knock, and may overtake it on the way. So there is a second, after this time. */
const SECOND_TRY = 200;

/**
 * Knocks until the port opens, and returns the first connection that it accepts. There is none before that one, since it would
 * use up the opening of a `singleUse` service. Throws ClientError after the time-out, and if nothing can be sent.
 */
export async function openDoor<K extends Key>(
  door: Door<K>,
  patience: Patience,
  insist: Insist<K>,
): Promise<Opened> {
  const over = new AbortController();
  let deadline = performance.now() + patience.timeout;
  let expire: (error: ClientError) => void = () => {};
  const expired = new Promise<never>((_, reject) => {
    expire = reject;
  });
  const opening: Opening = {
    attempts: new Attempts(door.port),
    signal: over.signal,
    rounds: 0,
    waiting: undefined,
    extend(milliseconds) {
      clearTimeout(timer);
      deadline += milliseconds;
      timer = setTimeout(tellClosed, deadline - performance.now());
    },
  };
  const tellClosed = () =>
    expire(closedError(door, opening, `is still closed after ${patience.timeout / 1000} s`));
  let timer = setTimeout(tellClosed, patience.timeout);
  try {
    const socket = await Promise.race([opening.attempts.won, insist(door, patience, opening), expired]);
    return { socket, rounds: opening.rounds };
  } finally {
    clearTimeout(timer);
    over.abort();
    opening.attempts.giveUp();
  }
}

/** The {@link Insist} for a host without a known key. */
export async function onlyConnect(door: Door, _: Patience, opening: Opening): Promise<never> {
  await opening.attempts.start(door.addresses, opening.signal);
  throw closedError(door, opening, 'is closed');
}

/** Gives an open port time to answer. Rejects with the signal. */
export async function tryOut(
  { attempts, signal }: Opening,
  addresses: readonly string[],
  time = HEAD_START,
): Promise<void> {
  await Promise.race([attempts.start(addresses, signal), delay(time, undefined, { signal })]);
  await immediate(); // on a busy machine the answer may have come without being processed yet
  signal.throwIfAborted();
}

/** Tries to connect, for `time` milliseconds in all. */
export async function tryAgain(
  { attempts, signal }: Opening,
  addresses: readonly string[],
  time: number,
): Promise<void> {
  for (const pause of [SECOND_TRY, time - SECOND_TRY]) {
    attempts.start(addresses, signal).catch(() => {}); // the delay ends with the same signal
    await delay(pause, undefined, { signal });
    await immediate(); // as above
    signal.throwIfAborted();
  }
}

function closedError(
  { name, port, advice }: Door,
  { attempts, waiting }: Opening,
  what: string,
): ClientError {
  return new ClientError(`${name} port ${port} ${what} (${waiting ?? lookOf(attempts.failure)}): ${advice}`);
}

function lookOf(failure: string | undefined): string {
  if (failure === undefined) return 'it does not answer';
  return failure === 'ECONNREFUSED' ? 'it refuses connections' : failure;
}
