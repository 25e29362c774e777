/** The meaning of `/etc/knockd-nft.json` once it is read: no syntax, no positions, every default filled in. */

import type { Family } from '../inet/family.ts';
import type { Network } from '../inet/network.ts';
import type { Port, PortRange } from '../inet/port.ts';

/** The knocks that open a service, in order. `user` is null for a service with a single `sequence`. */
export interface Sequence {
  readonly user: string | null;
  readonly knocks: readonly Port[];
}

/** How a guarded port looks to strangers: silent, closed, or forbidden by the host. */
export type Closed = 'drop' | 'reject' | 'prohibited';

/** A user whose one-time tokens open a service. */
export interface TokenUser {
  readonly user: string;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

export interface Service {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** All have a user, or there is exactly one without. There are none only if there are `tokens`. */
  readonly sequences: readonly Sequence[];
  readonly tokens: readonly TokenUser[];
  /** The longest pause between two knocks, in milliseconds. */
  readonly knockTimeout: number;
  /** How long a client may open new connections, in milliseconds. */
  readonly openFor: number;
  readonly singleUse: boolean;
  readonly closed: Closed;
}

export interface Log {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly format: 'auto' | 'json' | 'text';
  /** Whether to report refused connections, too. */
  readonly refused: boolean;
  /** NFLOG group, 0 to 65535. */
  readonly group: number;
}

/** The port for tokens, and how many of them wait in the kernel. */
export interface TokenSettings {
  /** UDP. */
  readonly port: Port;
  /** It goes into the derivation. Hosts that share secrets need different realms. */
  readonly realm: string;
  /** How many hours ahead tokens stand ready. */
  readonly hours: number;
  /** TCP ports where a program listens, and where a token in a segment's data counts, too. */
  readonly payload: readonly Port[];
}

export interface Config {
  readonly services: readonly Service[];
  readonly token: TokenSettings;
  readonly policy: 'accept' | 'drop';
  /** Ports open to every source. */
  readonly public: readonly PortRange[];
  /** Sources that need no knock: sorted by family and address, disjoint, neighbours merged. */
  readonly allow: readonly Network[];
  /** Interface names, with `*` at the end as wildcard; empty for all. */
  readonly interfaces: readonly string[];
  readonly hook: 'input' | 'prerouting';
  /** The priority of the input chain, as a number. "filter" is 0, so the default is -10. */
  readonly priority: number;
  /** How many bits of an address are one client. */
  readonly prefix: Readonly<Record<Family, number>>;
  readonly strict: boolean;
  /** The most elements in each map and set that packets write. */
  readonly limits: { readonly progress: number; readonly clients: number };
  /** Name of the `inet` table. */
  readonly table: string;
  /** Whether the supervisor keeps a file of metrics. */
  readonly metrics: boolean;
  readonly log: Log;
}
