import type { Family } from '../config/types.ts';

/** Names that administrators see in `nft list ruleset`, each in one place: the compiler writes them, the status reads them. */

/** The comment that marks a table as ours. */
export const MARK = 'knockd-nft';

/** The table of `doctor --trace`, and the comment that marks it: it is there only as long as that runs. */
export const TRACE_TABLE = 'knockd_trace';
export const TRACE_MARK = 'knockd-nft trace';

export const FAMILIES = ['ipv4', 'ipv6'] as const satisfies readonly Family[];

/** The name of a set that there is for each family. */
export type SetName = (family: Family) => string;

export const names = {
  started: (family: Family) => `started_${family}`,
  progress: (family: Family) => `progress_${family}`,
  knockers: (family: Family) => `knockers_${family}`,
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
  steps: 'steps',
  arrivals: 'arrivals',
  guard: (service: string) => `guard_${service}`,
  open: (service: string) => `open_${service}`,
  /** While one program becomes another: copies of what was, of what will be, and of what guards meanwhile. No service has a dot in its name. */
  held: (map: string) => `held.${map}`,
  coming: (set: string) => `coming.${set}`,
  aside: (object: string) => `aside.${object}`,
} as const;

/** Who writes what a set holds: the configuration, packets (and people, by hand), or the feeder of tokens. */
export type Owner = 'program' | 'packets' | 'feeder';

/** Each kind of set or map, and its owner. Swaps compare and replace what the program owns, and keep the rest; they never read the feeder's. */
const OWNERS = {
  started: 'packets',
  progress: 'packets',
  knockers: 'packets',
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
  steps: 'program',
  arrivals: 'program',
} as const satisfies Record<string, Owner>;

export type Holds = keyof typeof OWNERS;

/** What the set of this name holds; undefined for a name that {@link names} does not make. */
export function holds(name: string): Holds | undefined {
  const [, word = ''] =
    /^.+_(clients|users)_ipv[46]$/.exec(name) ??
    /^(started|progress|knockers|sessions|syns|admitted|allowed)_ipv[46]$/.exec(name) ??
    /^(ports|guards|steps|arrivals|tokens|used)$/.exec(name) ??
    [];
  return word in OWNERS ? (word as Holds) : undefined;
}

/** Who owns the elements of a set in our table. A set that others put there is packets' if its elements expire. */
export function ownerOf({ name, timeout }: { readonly name: string; readonly timeout: boolean }): Owner {
  const kind = holds(name);
  return kind ? OWNERS[kind] : timeout ? 'packets' : 'program';
}

/** The service behind a name that {@link names} made, such as `guard_ssh`. */
export function serviceOfGuard(chain: string): string | undefined {
  return chain.startsWith('guard_') ? chain.slice('guard_'.length) : undefined;
}

export function serviceOfOpen(chain: string): string | undefined {
  return chain.startsWith('open_') ? chain.slice('open_'.length) : undefined;
}

/** What is on record of single connections: each a client, its port, our port. */
export const CONNECTIONS: readonly SetName[] = [names.sessions, names.syns, names.admitted];

/** Whether a set holds single connections: of no use to who asks for clients, and as many as there are connections. */
export function holdsConnections(name: string): boolean {
  return ['sessions', 'syns', 'admitted'].includes(holds(name) ?? '');
}
