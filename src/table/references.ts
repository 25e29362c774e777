import type { Expression } from '../nftables/expression.ts';
import { byName, type ChainWithRules, type Ruleset } from '../nftables/ruleset.ts';

/** The chain that an expression leads to. */
export function chainOf(expression: Expression): string | undefined {
  return expression.kind === 'immediate' && 'verdict' in expression && 'chain' in expression.verdict
    ? expression.verdict.chain
    : undefined;
}

/** The set that an expression looks up or changes. */
export function setOf(expression: Expression): string | undefined {
  return expression.kind === 'lookup' || expression.kind === 'dynset' ? expression.set : undefined;
}

/** Some chains, all that packets can reach from them, and the names of the sets that their rules look up or change. */
export function reachable(
  { chains, sets }: Ruleset,
  from: readonly ChainWithRules[],
): { readonly chains: readonly ChainWithRules[]; readonly sets: ReadonlySet<string> } {
  const [named, maps] = [byName(chains), byName(sets)];
  const found = new Map(from.map(chain => [chain.name, chain]));
  const asked = new Set<string>();
  const reach = (name: string): void => {
    const chain = named.get(name);
    if (chain && !found.has(name)) found.set(name, chain);
  };
  for (const { rules } of found.values())
    for (const { expressions } of rules)
      for (const expression of expressions) {
        const [chain, set] = [chainOf(expression), setOf(expression)];
        if (chain !== undefined) reach(chain);
        if (set === undefined || asked.has(set)) continue;
        asked.add(set);
        for (const { data } of maps.get(set)?.elements ?? []) if (data && 'chain' in data) reach(data.chain);
      }
  return { chains: [...found.values()], sets: asked };
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
