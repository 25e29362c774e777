import { elementText } from './element.ts';
import { expressionText } from './expression.ts';
import { intervalTexts } from './interval.ts';
import type { Rule } from './rule.ts';
import { RuleText } from './rule-text.ts';
import { byName, type ChainWithRules, type Ruleset, type SetWithElements } from './ruleset.ts';
import { type NftSet, setText } from './set.ts';

/** The ruleset as a script that `nft -f` loads, with the same effect as the messages. */
export function rulesetText({ table, counters, sets, chains }: Ruleset): string {
  const named = byName(sets);
  const lines = [
    `table inet ${table.name} {`,
    ...(table.comment === undefined ? [] : [`\tcomment ${JSON.stringify(table.comment)}`]),
    ...counters.map(({ name, packets, bytes }) => `\tcounter ${name} { packets ${packets} bytes ${bytes} }`),
    ...sets.flatMap(setLines),
    ...chains.flatMap(chain => chainLines(chain, named)),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * The same as a script that may be loaded again and again, in one transaction, whatever was there. The rules and the `program`
 * (the sets that no packet writes) then hold only what the script says, and what packets wrote stays.
 */
export function scriptText(ruleset: Ruleset, program: (set: NftSet) => boolean): string {
  const { table } = ruleset;
  const sets = ruleset.sets.filter(program).map(set => ({ ...set, elements: [] }));
  const flush = sets.map(({ name, data }) => `flush ${data ? 'map' : 'set'} inet ${table.name} ${name}\n`);
  // a set must exist before it can be flushed
  const empty = rulesetText({ table, counters: [], sets, chains: [] });
  return `${empty}flush table inet ${table.name}\n${flush.join('')}${rulesetText(ruleset)}`;
}

function setLines(set: SetWithElements): string[] {
  const elements = set.interval ? intervalTexts(set) : set.elements.map(element => elementText(set, element));
  return [
    `\t${set.data ? 'map' : 'set'} ${set.name} {`,
    ...setText(set).map(line => `\t\t${line}`),
    ...(elements.length > 0 ? [`\t\telements = { ${elements.join(',\n\t\t\t     ')} }`] : []),
    '\t}',
  ];
}

function chainLines({ name, hook, rules }: ChainWithRules, sets: ReadonlyMap<string, NftSet>): string[] {
  const { name: point, priority, policy } = hook ?? {};
  return [
    `\tchain ${name} {`,
    ...(hook ? [`\t\ttype filter hook ${point} priority ${priority}; policy ${policy};`] : []),
    ...rules.map(rule => `\t\t${ruleText(rule, sets)}`),
    '\t}',
  ];
}

/** A rule in nft's words. `sets` gives the types of the keys that it looks up. */
export function ruleText({ expressions, comment }: Rule, sets: ReadonlyMap<string, NftSet>): string {
  const rule = new RuleText(sets);
  for (const expression of expressions) expressionText(expression, rule);
  if (comment !== undefined) rule.say(`comment ${JSON.stringify(comment)}`);
  return rule.toString();
}
