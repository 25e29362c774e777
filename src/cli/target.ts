import { type Door, type Key, type Opened, onlyConnect, openDoor, type Patience } from '../client/door.ts';
import { hostsPath } from '../client/folders.ts';
import { findHost, GAP, HOST, readHosts, type TokenEntry } from '../client/hosts.ts';
import { readKnock } from '../client/knock.ts';
import { keepKnocking } from '../client/knocking.ts';
import { spendTokens } from '../client/spending.ts';
import type { Span } from '../inet/duration.ts';
import { type Port, readPort } from '../inet/port.ts';
import { type Context, UsageError } from './context.ts';
import { readTime } from './words.ts';

/** Milliseconds between two knocks. Packets that come up to 100 ms early or late still come in order. */
const DEFAULT_GAP = 200;
const DEFAULT_TIMEOUT = '15s';
const TIMEOUT: Span = {
  shortest: 1000,
  longest: 86_400_000,
  expected: 'seconds as a number, or a duration such as "30s" or "5m", from 1 s to 1 d',
};

/** The host to knock on, and how, from the words of the command line, else from the user's file. */
export interface Target {
  /** Name or address to go to. */
  readonly host: string;
  readonly key: Key;
  /** Of the file. */
  readonly port: number | undefined;
}

/** Does not read the file if the words have knocks. `port` is the port to connect to. Throws UsageError and ConfigError. */
export function readTarget(
  { env }: Context,
  host: string,
  words: readonly string[],
  { port, gap }: { readonly port?: number | undefined; readonly gap?: string | undefined },
): Target {
  if (!HOST.pattern.test(host)) throw new UsageError(`"${host}" is no host; expected ${HOST.expected}`);
  const known = words.length > 0 ? undefined : findHost(readHosts(hostsPath(env)), host, port);
  const pause = gap === undefined ? (known?.gap ?? DEFAULT_GAP) : readTime('--gap', gap, GAP);
  return {
    host: known?.host ?? host,
    key: keyOf(known?.token, known?.knocks ?? words.map(readWord), pause),
    port: known?.port,
  };
}

function keyOf(token: TokenEntry | undefined, knocks: readonly Port[], gap: number): Key {
  if (token) return { kind: 'token', token };
  return knocks.length > 0 ? { kind: 'knocks', knocks, gap } : { kind: 'unknown' };
}

/** Opens the port of a target with knocks or tokens, or only connects. */
export function openTarget(door: Door, patience: Patience): Promise<Opened> {
  const { key } = door;
  switch (key.kind) {
    case 'knocks':
      return openDoor({ ...door, key }, patience, keepKnocking);
    case 'token':
      return openDoor({ ...door, key }, patience, spendTokens);
    case 'unknown':
      return openDoor({ ...door, key }, patience, onlyConnect);
  }
}

/** Advice for when the port of `name` stays closed. */
export function adviceFor({ env }: Context, name: string, { key }: Target): string {
  const server = 'on the server, "knockd-nft status" shows';
  switch (key.kind) {
    case 'knocks':
      return `check that the knocks are those of the server and that something listens there; ${server} how far they come`;
    case 'token':
      return `check that secret, realm and service are those of the server, that the clock is right, and that something listens there; ${server} who is in`;
    case 'unknown':
      return `no knocks are known for ${name}; write them at the end of the command, or into ${hostsPath(env)}`;
  }
}

/** Milliseconds. */
export function readTimeout(word = DEFAULT_TIMEOUT): number {
  return readTime('--timeout', word, TIMEOUT);
}

/** A TCP port, `what` in messages. */
export function readTcpPort(word: string, what: string): number {
  const port = readPort(/^\d+$/.test(word) ? Number(word) : word);
  if (port.ok && port.value.protocol === 'tcp') return port.value.port;
  throw new UsageError(`${what} ${word} is no TCP port; expected a number from 1 to 65535`);
}

/** Its message does not show the knock, which is part of a secret. */
function readWord(word: string, index: number): Port {
  const knock = readKnock(word);
  if (knock.ok) return knock.value;
  throw new UsageError(`knock ${index + 1} ${knock.wrong}; expected ${knock.expected}`);
}
