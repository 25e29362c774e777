/** Doors that one-time tokens open. */
import { setTimeout as delay } from 'node:timers/promises';
import { tokenDatagram, tokenRequest } from '../token/packet.ts';
import { Attempts } from './attempts.ts';
import {
  type Destination,
  type Door,
  type Opening,
  type Patience,
  type Token,
  tryAgain,
  tryOut,
} from './door.ts';
import { ClientError } from './error.ts';
import type { TokenEntry } from './hosts.ts';
import { sendDatagram } from './knock.ts';
import { Purse } from './purse.ts';
import { isQueue, takeTurn } from './queue.ts';
import type { Way } from './used.ts';

/** How long the port has to open after a token, and a listener has to take one, in milliseconds. */
const WAIT = 1000;
/** How long an earlier token's opening has to answer, in milliseconds. The wait saves a token. */
const RECENT_HEAD_START = 1000;

/** A token that was sent. */
interface Spent {
  readonly way: Way;
  /** The address that got it. */
  readonly address: string;
}

/** One way to bring a token to the host. */
interface Shot {
  readonly way: Way;
  /** Returns the address that got the token; undefined if nothing was sent. */
  readonly send: (token: string, signal: AbortSignal) => Promise<string | undefined>;
}

/**
 * Sends one token after the other until the port opens. It tries to connect first, since a lasting opening needs no token. Each
 * token goes to one address, which is then the one to connect to: a token is good for one host, once.
 */
export async function spendTokens(
  { name, addresses, key: { token } }: Door<Token>,
  { tell, env }: Patience,
  opening: Opening,
): Promise<never> {
  const { signal, attempts } = opening;
  const purse = new Purse(env, token, tell);
  const isFirst = !isQueue(purse.line);
  if (isFirst) await tryOut(opening, addresses, purse.isRecent ? RECENT_HEAD_START : undefined);
  const turn = await takeTurn(purse.line, signal, () => {
    attempts.giveUp();
    opening.waiting = 'other logins are still using its tokens';
  });
  try {
    opening.waiting = undefined;
    // another process may have opened it since, even if it was done before we began to wait
    const isNews = purse.look();
    if (!isFirst || turn.waited || isNews) await tryOut(opening, addresses, RECENT_HEAD_START);
    const onWait = (until: number) => {
      tell(`${name}: its tokens are used up; waiting until ${clock(until)}`);
      opening.waiting = `its tokens are used up until ${clock(until)}`;
      if (opening.rounds === 0) opening.extend(until - Date.now());
    };
    let spent: Spent | undefined;
    attempts.won.then(() => spent && purse.opened(spent.way, spent.address));
    for await (spent of spend(purse, addresses, token, signal, onWait)) {
      opening.waiting = undefined;
      if (opening.rounds++ > 0) tell(`${name} is still closed; sent another token to ${spent.address}`);
      await tryAgain(opening, [spent.address], WAIT);
    }
    throw nothingSent(addresses);
  } finally {
    turn.end();
  }
}

/** Sends one token, and returns the address that got it. Throws ClientError. */
export async function sendToken(
  { name, addresses, key: { token } }: Destination<Token>,
  { tell, env, timeout }: Pick<Patience, 'tell' | 'env' | 'timeout'>,
): Promise<string> {
  const purse = new Purse(env, token, tell);
  const turn = await takeTurn(purse.line, AbortSignal.timeout(timeout), () => {}).catch(() => {
    throw new ClientError(
      `others were still using the tokens of ${name} after ${timeout / 1000} s: try again`,
    );
  });
  try {
    purse.look();
    const onWait = (until: number) => tell(`${name}: its tokens are used up; waiting until ${clock(until)}`);
    const never = new AbortController().signal;
    for await (const { address } of spend(purse, addresses, token, never, onWait)) return address;
    throw nothingSent(addresses);
  } finally {
    turn.end();
  }
}

/** Sends a token each time, by the next way. It ends when none of the ways could send one. */
async function* spend(
  purse: Purse,
  addresses: readonly string[],
  entry: TokenEntry,
  signal: AbortSignal,
  onWait: (until: number) => void,
): AsyncGenerator<Spent> {
  const shots = shotsFor(addresses, entry, purse.last);
  let token: string | undefined;
  for (let failed = 0; failed < shots.length; )
    for (const { way, send } of shots) {
      token ??= await purse.take(signal, onWait);
      const address = await send(token, signal);
      failed = address === undefined ? failed + 1 : 0;
      if (address === undefined) continue; // the token is still good
      token = undefined;
      yield { way, address };
    }
}

/** The ways in the order in which to try them, over and over: the way that last opened the port comes first. */
function shotsFor(
  addresses: readonly string[],
  { port, payload }: TokenEntry,
  last: Purse['last'],
): readonly Shot[] {
  const ordered = addresses.toSorted((a, b) => Number(b === last.address) - Number(a === last.address));
  const datagrams: Shot[] = ordered.map(address => ({
    way: 'udp',
    send: token =>
      sendDatagram(address, port, tokenDatagram(token)).then(
        () => address,
        () => undefined,
      ),
  }));
  const requests: Shot[] = payload.map(to => ({
    way: 'payload',
    send: (token, signal) => sendRequest(ordered, to, token, signal),
  }));
  const [first, second] = last.way === 'payload' ? [requests, datagrams] : [datagrams, requests];
  const turns = Array.from({ length: Math.max(first.length, second.length) }, (_, index) => index);
  return turns.flatMap(index => [first[index], second[index]].filter(shot => shot !== undefined));
}

/** Sends the token to the first address that accepts a connection. */
async function sendRequest(
  addresses: readonly string[],
  port: number,
  token: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const attempts = new Attempts(port);
  const socket = await Promise.race([
    attempts.won,
    attempts.start(addresses, signal).then(() => undefined),
    delay(WAIT, undefined, { signal }),
  ]);
  if (socket === undefined) return void attempts.giveUp();
  const address = socket.remoteAddress ?? '';
  socket.on('error', () => {}).resume();
  await new Promise<void>(sent => socket.once('close', sent).end(tokenRequest(token, address), sent));
  setTimeout(() => socket.destroy(), WAIT).unref(); // the answer does not matter
  return address;
}

function nothingSent(addresses: readonly string[]): ClientError {
  return new ClientError(
    `no token could be sent to ${addresses.join(' or ')}: check the network of this machine`,
  );
}

/** `22:14:00` */
function clock(milliseconds: number): string {
  return new Date(milliseconds).toTimeString().slice(0, 8);
}
