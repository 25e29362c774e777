import { type Bits, type Match, YES } from './bits.ts';

/** The effect of a rule on a packet that it matches. */
export type Decision =
  | { readonly does: 'accept' | 'drop' | 'reject' | 'return' }
  /** In a verdict map: the rule goes on with its next expression, and behind its last one the chain does. */
  | { readonly does: 'continue' }
  /** SYNPROXY answers for the port. A client that answers back then comes in by the loopback interface. */
  | { readonly does: 'proxy' }
  /** Another program decides, or an expression that we do not understand. */
  | { readonly does: 'unknown' }
  | { readonly does: 'jump' | 'goto'; readonly chain: string }
  | { readonly does: 'translate'; readonly to: Translation };

/** A new destination. Without an address it is this host itself if `local`, otherwise the address before. */
export interface Translation {
  readonly address: Bits | undefined;
  readonly port: Bits | undefined;
  readonly local: boolean;
}

/** The effect of an expression on a packet: whether the rule goes on, and its decision. */
export interface Step {
  readonly match: Match;
  /** With a verdict map there may be several. */
  readonly decisions?: readonly { readonly decision: Decision; readonly likely: boolean }[];
  /** Whether connection tracking ignores the packet from here on. */
  readonly untracked?: boolean;
  /** TPROXY gives the packet to a transparent socket of such a port, if there is one. The header stays as it is. */
  readonly leads?: readonly Bits[];
}

export const GOES_ON: Step = { match: YES };

export function when(match: Match): Step {
  return { match };
}

export function decides(decision: Decision): Step {
  return { match: YES, decisions: [{ decision, likely: true }] };
}
