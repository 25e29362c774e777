import type { Datatype } from './datatype.ts';
import type { Expression } from './expression.ts';
import type { VERDICT } from './register.ts';
import type { Data } from './verdict.ts';

/** A whole table as a value: what the compiler wants in the kernel, or what we read from it. */
export interface Ruleset {
  readonly table: Table;
  readonly counters: readonly NamedCounter[];
  readonly sets: readonly SetWithElements[];
  readonly chains: readonly ChainWithRules[];
}

export interface SetWithElements extends NftSet {
  readonly elements: readonly Element[];
}

export interface ChainWithRules extends Chain {
  readonly rules: readonly Rule[];
}

/** A table of family inet. Its comment is set when it is made, and never changes. */
export interface Table {
  readonly name: string;
  readonly comment: string | undefined;
  /** Its chains are not hooked in, so no packet reaches them. */
  readonly dormant?: boolean;
  /** Only the socket that made it may change it. The table goes when that socket is closed (Linux 5.12). */
  readonly owner?: boolean;
  /** The kernel's number for it. A table that is made again gets another one. */
  readonly handle?: bigint;
}

/** A named counter. Rules count in it by its name, and it outlives them. */
export interface NamedCounter {
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

/** A set, or a map if it has `data`: what its elements hold. The kernel calls both sets, nft calls one with data a map. */
export interface NftSet {
  readonly name: string;
  /** The types of the key, more than one for a concatenation; empty for a type that this program does not know. */
  readonly types: readonly Datatype[];
  readonly data?: Datatype | typeof VERDICT;
  /** Packets add and remove elements. */
  readonly dynamic: boolean;
  /** Elements may have a time-out. */
  readonly timeout: boolean;
  /** Keys are the ends of ranges. */
  readonly interval: boolean;
  /** The most elements that it can hold, if there is a limit. */
  readonly size?: number;
  /** How many elements it had when we asked, if the kernel says (NFTA_SET_COUNT of later kernels). */
  readonly count?: number;
}

/** One element of a set or map. Times are in milliseconds. */
export interface Element {
  readonly key: Buffer;
  readonly data?: Data;
  /** How long it lives in all; absent if it never expires. */
  readonly timeout?: number;
  /** How long it has left. */
  readonly expires?: number;
  readonly comment?: string;
  /** In an interval set: the first key after a range. */
  readonly end?: boolean;
  /** The element that stands for all other keys (`*`). Its own key is empty. */
  readonly all?: boolean;
  /** In a set of ranges of several fields: the last key of the range, field by field. */
  readonly last?: Buffer;
  /** nft's mark on a range that goes up to the last address. */
  readonly open?: boolean;
}

export interface Chain {
  readonly name: string;
  /** Only base chains have one (of type filter). */
  readonly hook?: Hook;
}

/** The hook of a base chain. `priority` may be negative. A lower one runs earlier. */
export interface Hook {
  readonly name: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'ingress';
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
}

export interface Rule {
  readonly expressions: readonly Expression[];
  readonly comment?: string;
}

/** Objects by their names. A table may have thousands. */
export function byName<T extends { readonly name: string }>(objects: readonly T[]): ReadonlyMap<string, T> {
  return new Map(objects.map(object => [object.name, object]));
}
