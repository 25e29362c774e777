import type { Chain, Element, NftSet, Rule } from '../nftables/ruleset.ts';

/** Another program's table, in one of the families that see packets to this host. */
export interface ForeignTable {
  readonly family: 'ip' | 'ip6' | 'inet';
  readonly name: string;
  readonly chains: ReadonlyMap<string, ForeignChain>;
  readonly sets: ReadonlyMap<string, ForeignSet>;
}

export interface ForeignChain extends Chain {
  readonly rules: readonly Rule[];
}

/** `elements` is undefined for a set that was too large to be read. */
export interface ForeignSet extends NftSet {
  readonly elements: readonly Element[] | undefined;
}

/** `inet filter`, as nft names it. */
export function tableName({ family, name }: ForeignTable): string {
  return `${family} ${name}`;
}
