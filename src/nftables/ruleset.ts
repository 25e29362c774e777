import type { Chain } from './chain.ts';
import type { Element } from './element.ts';
import type { NamedCounter } from './named-counter.ts';
import type { Rule } from './rule.ts';
import type { NftSet } from './set.ts';
import type { Table } from './table.ts';

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

/** Objects by their names. A table may have thousands. */
export function byName<T extends { readonly name: string }>(objects: readonly T[]): ReadonlyMap<string, T> {
  return new Map(objects.map(object => [object.name, object]));
}
