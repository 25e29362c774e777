// ruleset/ compiles a Config to the table that it means, and reads a table back: a Program, a Status.
// All functions here are pure. names.ts has all names that administrators see.
// Floor 3: it imports only from rooms on lower floors.

import { createHash } from 'node:crypto';
import type { Service, TokenUser } from '../config/types.ts';
import type { Port } from '../inet/port.ts';

declare const PLACE: unique symbol;

/** How far a client is, and along which sequences: a 32-bit number that stands for a prefix of sequences. 0 is the start. */
export type Place = number & { readonly [PLACE]: true };

export const START = 0 as Place;

/** A knock that takes a client from one place to the next. */
interface Step {
  readonly from: Place;
  readonly knock: Port;
  readonly to: Place;
  /** The sequences that go this way: `ssh 2/4`, `admin alice 1/3`. */
  readonly labels: readonly string[];
}

/** The effect of reaching a place: wait at most `timeout` milliseconds for the next knock, or open a service. */
type Arrival = { readonly place: Place; readonly does: 'start' | 'wait'; readonly timeout: number } | Opens;

/** A place at the end of a sequence, or one that a user's tokens lead to. */
interface Opens {
  readonly place: Place;
  readonly does: 'open';
  readonly service: string;
  readonly user: string | null;
}

/** All sequences as one automaton. A knock that is in none of its lists is a wrong one. */
export interface Automaton {
  readonly steps: readonly Step[];
  /** Knocks already made on the way to a place. They change nothing there. */
  readonly repeats: readonly { readonly place: Place; readonly knock: Port }[];
  readonly arrivals: readonly Arrival[];
  /** Every knock, once. */
  readonly knocks: readonly Port[];
  /** The places of tokens, with the secrets that lead there. */
  readonly tokens: readonly TokenPlace[];
}

export interface TokenPlace extends Opens {
  readonly secret: Uint8Array;
}

/** A prefix while it is being built; its children are the prefixes one knock longer. */
interface Prefix {
  readonly knock: Port | undefined;
  readonly parent: Prefix | undefined;
  readonly hash: number;
  readonly children: Map<number, Prefix>;
  readonly labels: string[];
  timeout: number;
  /** The service that a whole sequence opens, and the user. */
  opens: Pick<Opens, 'service' | 'user'> | undefined;
  place: Place;
}

/**
 * Compiles the sequences of all services. Sequences that begin alike share that prefix.
 *
 * The configuration was checked, so no sequence begins with another whole one.
 */
export function compileAutomaton(services: readonly Service[], realm: string): Automaton {
  const root = newPrefix(undefined, undefined, FNV_OFFSET);
  const inOrder: Prefix[] = [];
  for (const service of services) {
    for (const { user, knocks } of service.sequences) {
      let prefix = root;
      knocks.forEach((knock, index) => {
        let next = prefix.children.get(knockCode(knock));
        if (!next) {
          next = newPrefix(knock, prefix, extendHash(prefix.hash, knock));
          prefix.children.set(knockCode(knock), next);
          inOrder.push(next);
        }
        next.labels.push(`${service.name} ${user === null ? '' : `${user} `}${index + 1}/${knocks.length}`);
        next.timeout = Math.max(next.timeout, service.knockTimeout);
        prefix = next;
      });
      prefix.opens = { service: service.name, user };
    }
  }
  const taken = number(root);
  const tokens = services.flatMap(service =>
    service.tokens.map(token => tokenPlace(realm, service.name, token, taken)),
  );
  return {
    steps: inOrder.flatMap(prefix =>
      prefix.knock && prefix.parent
        ? [{ from: prefix.parent.place, knock: prefix.knock, to: prefix.place, labels: prefix.labels }]
        : [],
    ),
    repeats: inOrder.flatMap(repeats),
    arrivals: [...inOrder.map(arrival), ...tokens.map(({ secret: _, ...opens }) => opens)],
    knocks: [...new Map(inOrder.flatMap(({ knock }) => (knock ? [[knockCode(knock), knock]] : []))).values()],
    tokens,
  };
}

function newPrefix(knock: Port | undefined, parent: Prefix | undefined, hash: number): Prefix {
  return { knock, parent, hash, children: new Map(), labels: [], timeout: 0, opens: undefined, place: START };
}

/** One number for a knock: 17 bits. */
export function knockCode({ protocol, port }: Port): number {
  return (protocol === 'udp' ? 0x10000 : 0) | port;
}

function arrival({ place, parent, timeout, opens }: Prefix): Arrival {
  if (opens !== undefined) return { place, does: 'open', ...opens };
  return { place, does: parent?.parent ? 'wait' : 'start', timeout };
}

/** The knocks on the way to a prefix, including its own, that do not advance from it. */
function repeats(prefix: Prefix): { place: Place; knock: Port }[] {
  if (prefix.opens !== undefined) return [];
  const made = new Map<number, Port>();
  for (let at: Prefix | undefined = prefix; at?.knock; at = at.parent)
    made.set(knockCode(at.knock), at.knock);
  return [...made]
    .filter(([code]) => !prefix.children.has(code))
    .map(([, knock]) => ({ place: prefix.place, knock }));
}

/**
 * Gives each prefix its place: the hash of its knocks, so that a client in mid-sequence stays where it is when other
 * sequences come and go. If two hashes collide, the later one in the order of length and knocks takes the next free
 * number, whatever the order in the file.
 */
function number(root: Prefix): Set<number> {
  const taken = new Set<number>([START]);
  let level = [root];
  while (level.length > 0) {
    level = level.flatMap(prefix => [...prefix.children].sort(([a], [b]) => a - b).map(([, child]) => child));
    for (const prefix of level) {
      prefix.place = take(finishHash(prefix.hash), taken);
    }
  }
  return taken;
}

/** The number, or the next that is free. */
function take(number: number, taken: Set<number>): Place {
  let place = number;
  while (taken.has(place)) place = (place + 1) >>> 0;
  taken.add(place);
  return place as Place;
}

/** The place that a user's tokens lead to. It changes with anything that goes into the tokens. */
function tokenPlace(
  realm: string,
  service: string,
  { user, secret }: TokenUser,
  taken: Set<number>,
): TokenPlace {
  const digest = createHash('sha256').update(`${realm} ${service} ${user} `).update(secret).digest();
  return { place: take(digest.readUInt32BE(0), taken), does: 'open', service, user, secret };
}

// FNV-1a (Fowler, Noll, Vo) over the bytes of the knocks, then the finalizer of MurmurHash3 (Appleby, public domain)
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

function extendHash(hash: number, { protocol, port }: Port): number {
  return [protocol === 'udp' ? 17 : 6, port >>> 8, port & 0xff].reduce(
    (state, byte) => Math.imul(state ^ byte, FNV_PRIME),
    hash,
  );
}

function finishHash(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
