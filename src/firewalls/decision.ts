import { type Bits, type Match, YES } from './bits.ts';

/** What a rule does with a packet that it matches. */
export type Decision =
  | { readonly does: 'accept' | 'drop' | 'reject' | 'return' }
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

/** What an expression does with a packet: whether the rule goes on, and what it decides. */
export interface Step {
  readonly match: Match;
  /** With a verdict map there may be several. */
  readonly decisions?: readonly { readonly decision: Decision; readonly likely: boolean }[];
  /** Whether connection tracking ignores the packet from here on. */
  readonly untracked?: boolean;
}

export const GOES_ON: Step = { match: YES };

export function when(match: Match): Step {
  return { match };
}

export function decides(decision: Decision): Step {
  return { match: YES, decisions: [{ decision, likely: true }] };
}
