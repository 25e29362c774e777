/**
 * The meaning of `/etc/knockd-nft.json` once it is read: no syntax, no positions, every default filled in. A key whose value means
 * what is written has its type from the table in `keys.ts`. So the compiler asks for each key of that table to be handed on.
 */

import type { Network } from '../inet/network.ts';
import type { Port, PortRange } from '../inet/port.ts';
import type { ServiceValues, TokenValues } from './keys.ts';
import type { Settings } from './settings.ts';

/** The knocks that open a service, in order. `user` is null for a service with a single `sequence`. */
export interface Sequence {
  readonly user: string | null;
  readonly knocks: readonly Port[];
}

/** How a guarded port looks to strangers: silent, closed, or forbidden by the host. */
export type Closed = Settings['closed'];

/** A user whose one-time tokens open a service. */
export interface TokenUser {
  readonly user: string;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

/** Times are in milliseconds. */
export interface Service
  extends Required<Omit<ServiceValues, 'ports' | 'sequence' | 'sequences' | 'tokens'>> {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** All have a user, or there is exactly one without. There are none only if there are `tokens`. */
  readonly sequences: readonly Sequence[];
  readonly tokens: readonly TokenUser[];
}

export type Log = Settings['log'];

/** The port for tokens, and how many of them wait in the kernel. */
export interface TokenSettings extends Required<Omit<TokenValues, 'port' | 'payload'>> {
  /** UDP. */
  readonly port: Port;
  /** TCP ports where a program listens, and where a token in a segment's data counts, too. */
  readonly payload: readonly Port[];
}

export interface Config extends Omit<Settings, 'closed'> {
  readonly services: readonly Service[];
  readonly token: TokenSettings;
  /** Ports open to every source. */
  readonly public: readonly PortRange[];
  /** Sources that need no knock: sorted by family and address, disjoint, neighbours merged. */
  readonly allow: readonly Network[];
  /** Interface names, with `*` at the end as wildcard; empty for all. */
  readonly interfaces: readonly string[];
}
