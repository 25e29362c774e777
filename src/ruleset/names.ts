import type { Family } from '../inet/family.ts';

/**
 * The table's name and those of its sets, maps and counters, and of the chains of a service: the compiler writes them, the
 * status reads them. The other chains have their names where they are made.
 */

/** The comment that marks a table as ours. */
export const MARK = 'knockd-nft';

/** The table of `doctor --trace`, and the comment that marks it. The table exists only while that command runs. */
export const TRACE_TABLE = 'knockd_trace';
export const TRACE_MARK = 'knockd-nft trace';

/** The name of a set of which each family has one. */
type SetName = (family: Family) => string;

export const names = {
  started: (family: Family) => `started_${family}`,
  progress: (family: Family) => `progress_${family}`,
  knockers: (family: Family) => `knockers_${family}`,
  mistaken: (family: Family) => `mistaken_${family}`,
  sessions: (family: Family) => `sessions_${family}`,
  syns: (family: Family) => `syns_${family}`,
  admitted: (family: Family) => `admitted_${family}`,
  allowed: (family: Family) => `allowed_${family}`,
  clients: (service: string, family: Family) => `${service}_clients_${family}`,
  users: (service: string, family: Family) => `${service}_users_${family}`,
  opened: (service: string) => `${service}_opened`,
  accepted: (service: string) => `${service}_accepted`,
  refused: (service: string) => `${service}_refused`,
  wrongKnocks: 'wrong_knocks',
  wrongTokens: 'wrong_tokens',
  repeatedTokens: 'repeated_tokens',
  tokens: 'tokens',
  used: 'used',
  ports: 'ports',
  guards: 'guards',
  guardedUdp: 'guarded_udp',
  steps: 'steps',
  arrivals: 'arrivals',
  guard: (service: string) => `guard_${service}`,
  open: (service: string) => `open_${service}`,
  /** During a swap: copies of the old program, of the new one, and of the guards meanwhile. Names of services have no dots. */
  held: (map: string) => `held.${map}`,
  coming: (set: string) => `coming.${set}`,
  aside: (object: string) => `aside.${object}`,
} as const;

/** The writer of a set's elements: the configuration, packets (and people by hand), or the feeder of tokens. */
type Owner = 'program' | 'packets' | 'feeder';

/**
 * Each kind of set or map, and its owner. A swap compares and replaces the elements that the program owns, and keeps the
 * others. It never reads the feeder's.
 */
const OWNERS = {
  started: 'packets',
  progress: 'packets',
  knockers: 'packets',
  mistaken: 'packets',
  sessions: 'packets',
  syns: 'packets',
  admitted: 'packets',
  clients: 'packets',
  users: 'packets',
  tokens: 'feeder',
  used: 'feeder',
  allowed: 'program',
  ports: 'program',
  guards: 'program',
  guarded_udp: 'program',
  steps: 'program',
  arrivals: 'program',
} as const satisfies Record<string, Owner>;

type Holds = keyof typeof OWNERS;

/** The kind of the set with this name; undefined for a name that {@link names} does not make. */
export function holds(name: string): Holds | undefined {
  const [, word = ''] =
    /^.+_(clients|users)_ipv[46]$/.exec(name) ??
    /^(started|progress|knockers|mistaken|sessions|syns|admitted|allowed)_ipv[46]$/.exec(name) ??
    /^(ports|guards|guarded_udp|steps|arrivals|tokens|used)$/.exec(name) ??
    [];
  return word in OWNERS ? (word as Holds) : undefined;
}

/** The owner of a set's elements in our table. A set that another program added belongs to packets if its elements expire. */
export function ownerOf({ name, timeout }: { readonly name: string; readonly timeout: boolean }): Owner {
  const kind = holds(name);
  return kind ? OWNERS[kind] : timeout ? 'packets' : 'program';
}

/** The service in a name that {@link names} made, such as `guard_ssh`. */
export function serviceOfGuard(chain: string): string | undefined {
  return chain.startsWith('guard_') ? chain.slice('guard_'.length) : undefined;
}

export function serviceOfOpen(chain: string): string | undefined {
  return chain.startsWith('open_') ? chain.slice('open_'.length) : undefined;
}

/** Whether a set holds the clients that are in, or the places that let them in. */
export function holdsClients(name: string): boolean {
  return ['clients', 'users'].includes(holds(name) ?? '');
}

/** The sets that hold single connections. Each element is a client, its port and our port. */
export const CONNECTIONS: readonly SetName[] = [names.sessions, names.syns, names.admitted];

/** Whether a set holds single connections instead of clients. It may have as many elements as there are connections. */
export function holdsConnections(name: string): boolean {
  return ['sessions', 'syns', 'admitted'].includes(holds(name) ?? '');
}
