import { DecodeError } from '../netlink/attributes.ts';
import type { Expression } from '../nftables/expression.ts';
import { NFT_CT, NFTA_CT } from '../nftables/expressions/ct.ts';
import { NFTA_DYNSET } from '../nftables/expressions/dynset.ts';
import { META_KEYS, NFT_META, NFTA_META } from '../nftables/expressions/meta.ts';
import { Fields, NFTA_XT } from './fields.ts';
import type { ForeignTable } from './table.ts';

/**
 * State that some rule writes. What another rule reads there depends on earlier packets or on other rules, so we cannot
 * foretell it.
 */
export interface Written {
  /** Whether packets change this set. */
  readonly has: (table: ForeignTable, set: string) => boolean;
  /** enum nft_meta_keys and nft_ct_keys */
  readonly meta: ReadonlySet<number>;
  readonly ct: ReadonlySet<number>;
  /** Whether a rule writes to any set of ipset(8). */
  readonly ipset: boolean;
}

export const NOTHING_WRITTEN: Written = {
  has: () => false,
  meta: new Set(),
  ct: new Set(),
  ipset: false,
};

const KNOWN = new WeakMap<readonly ForeignTable[], Written>();

/** Everything that rules of these tables write. It is found once for each list of tables. */
export function writtenBy(tables: readonly ForeignTable[]): Written {
  const known = KNOWN.get(tables);
  if (known) return known;
  const sets = new Map<ForeignTable, Set<string>>();
  const found = { meta: new Set<number>(), ct: new Set<number>(), ipset: false };
  for (const table of tables) {
    const own = new Set<string>();
    sets.set(table, own);
    for (const { rules } of table.chains.values())
      for (const { expressions } of rules) for (const expression of expressions) note(expression, own, found);
  }
  const written = { ...found, has: (table: ForeignTable, set: string) => sets.get(table)?.has(set) ?? false };
  KNOWN.set(tables, written);
  return written;
}

interface Found {
  readonly meta: Set<number>;
  readonly ct: Set<number>;
  ipset: boolean;
}

function note(expression: Expression, sets: Set<string>, found: Found): void {
  if (expression.kind === 'dynset') sets.add(expression.set);
  else if (expression.kind === 'meta' && 'sreg' in expression) found.meta.add(META_KEYS[expression.key]);
  else if (expression.kind === 'unknown') {
    try {
      noteVariant(expression.name, new Fields(expression.raw), sets, found);
    } catch (error) {
      if (!(error instanceof DecodeError || error instanceof RangeError)) throw error;
    }
  }
}

function noteVariant(name: string, fields: Fields, sets: Set<string>, found: Found): void {
  if (name === 'dynset') sets.add(fields.text(NFTA_DYNSET.SET_NAME));
  else if (name === 'meta' && fields.has(NFTA_META.SREG)) found.meta.add(fields.number(NFTA_META.KEY));
  else if (name === 'ct' && fields.has(NFTA_CT.SREG)) found.ct.add(fields.number(NFTA_CT.KEY));
  else if (name === 'target') {
    const target = fields.text(NFTA_XT.NAME);
    if (target === 'MARK' || target === 'CONNMARK') found.meta.add(NFT_META.MARK);
    if (target === 'CONNMARK') found.ct.add(NFT_CT.MARK);
    if (target === 'SET') found.ipset = true;
  }
}
