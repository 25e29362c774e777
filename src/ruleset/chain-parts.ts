import type { Config } from '../config/types.ts';
import { FAMILIES } from '../inet/family.ts';
import type { ChainWithRules, Rule } from '../nftables/ruleset.ts';
import type * as elements from './elements.ts';
import type { Statement } from './match.ts';
import * as match from './match.ts';

export function rule(...statements: readonly Statement[]): Rule {
  return { expressions: statements.flat() };
}

/** A chain whose rules have one statement each. */
export function chain(name: string, ...statements: readonly Statement[]): ChainWithRules {
  return { name, rules: statements.map(statement => rule(statement)) };
}

/** One rule for each family. */
export function perFamily(
  { prefix }: Pick<Config, 'prefix'>,
  statement: (source: elements.Source) => Statement,
): Statement[] {
  return FAMILIES.map(family => statement({ family, length: prefix[family] }));
}

/**
 * A packet that is not a valid new one to an address of ours is neither a knock nor a stray. One that a helper expects is neither,
 * too: a caller by SIP can make one port after the other expected, and would find the knocks without a stray.
 */
export const onlyNewToUs: readonly Statement[] = [
  [...match.ctState('invalid', 'related'), ...match.leave],
  [...match.tcpIsNoSyn, ...match.leave],
  [...match.notToUs, ...match.leave],
];

/** A link-local source is no client: another host may have the same address on another link. */
export const noLinkLocal: readonly Statement[] = FAMILIES.map(family => [
  ...match.family(family),
  ...match.fromLinkLocal(family),
  ...match.leave,
]);
