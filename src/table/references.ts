import type { Expression } from '../nftables/expression.ts';
import { byName, type ChainWithRules, type Ruleset } from '../nftables/ruleset.ts';

/** The chain that an expression leads to. */
export function chainOf(expression: Expression): string | undefined {
  return expression.kind === 'immediate' && 'verdict' in expression && 'chain' in expression.verdict
    ? expression.verdict.chain
    : undefined;
}

/** The set that an expression looks up or changes. */
function setOf(expression: Expression): string | undefined {
  return expression.kind === 'lookup' || expression.kind === 'dynset' ? expression.set : undefined;
}

/** The sets that the rules of some chains look up or change. */
export function setsOf(chains: readonly ChainWithRules[]): Set<string> {
  return new Set(
    chains.flatMap(({ rules }) =>
      rules.flatMap(({ expressions }) => expressions.flatMap(it => setOf(it) ?? [])),
    ),
  );
}

/** Some chains, and all that packets can reach from them. */
export function reachable({ chains, sets }: Ruleset, from: readonly ChainWithRules[]): ChainWithRules[] {
  const [named, maps] = [byName(chains), byName(sets)];
  const found = new Map(from.map(chain => [chain.name, chain]));
  for (const { rules } of found.values())
    for (const expression of rules.flatMap(({ expressions }) => expressions)) {
      const map = maps.get(setOf(expression) ?? '')?.elements ?? [];
      const next = map.flatMap(({ data }) => (data && 'chain' in data ? [data.chain] : []));
      for (const name of [...next, chainOf(expression) ?? '']) {
        const chain = named.get(name);
        if (chain && !found.has(name)) found.set(name, chain);
      }
    }
  return [...found.values()];
}

/** New names for the sets and chains that rules refer to. */
interface Renaming {
  readonly sets: ReadonlyMap<string, string>;
  readonly chains?: ReadonlyMap<string, string>;
}

/** The chain with these names replaced; the same value if it refers to none of them. */
export function rewritten(chain: ChainWithRules, { sets, chains }: Renaming): ChainWithRules {
  const other = (expression: Expression): Expression => {
    const set = sets.get(setOf(expression) ?? '');
    if (set !== undefined && (expression.kind === 'lookup' || expression.kind === 'dynset'))
      return { ...expression, set };
    const target = chains?.get(chainOf(expression) ?? '');
    if (target !== undefined && expression.kind === 'immediate' && 'verdict' in expression)
      return {
        ...expression,
        verdict: { ...expression.verdict, chain: target } as typeof expression.verdict,
      };
    return expression;
  };
  return {
    ...chain,
    rules: chain.rules.map(rule => ({ ...rule, expressions: rule.expressions.map(other) })),
  };
}
