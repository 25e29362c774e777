/** A rival guards services on a host, and lets in clients that send the right packets. */
import type { World } from '../../test/kernel/world.ts';

/** A packet that a client sends to be let in: a datagram with the payload, or a SYN without one. */
export interface Knock {
  readonly port: number;
  readonly payload?: string;
}

/** A rival that guards a host. */
export interface Standing {
  /** The processes of its daemon, if it has one. */
  readonly pids: readonly number[];
  /** From the start of the first command until it guards, in milliseconds. */
  readonly milliseconds: number;
  /** The growth of slabs and large areas for its rules and sets, in MiB. Other work of the machine disturbs it. */
  readonly kernel: number;
  readonly remove: () => Promise<void>;
}

export interface Rival {
  /** The name of its host. */
  readonly host: string;
  readonly name: string;
  readonly kind: 'nothing' | 'sequence' | 'datagram';
  /** Its configuration, in words. */
  readonly how: string;
  /** Why it cannot be measured here, or false. */
  readonly lacks: () => string | false;
  /** Makes it guard that many services. Rejects if it cannot. */
  readonly stand: (world: World, host: string, services: number) => Promise<Standing>;
  /** Packets that let each of these addresses in to the first service. They are good for two minutes. */
  readonly knocks: (world: World, host: string, sources: readonly string[]) => readonly (readonly Knock[])[];
  /** A packet that looks like the first one of `knocks`, but is not. */
  readonly flood: Knock;
}
