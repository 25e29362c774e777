import { AttributeReader, AttributeWriter } from '../netlink/attributes.ts';
import type { Change } from './change.ts';
import { decodeElements, elementText } from './element.ts';
import { expressionText } from './expression.ts';
import { intervalTexts } from './interval.ts';
import { RuleText } from './rule-text.ts';
import {
  byName,
  type ChainWithRules,
  type Element,
  type Hook,
  type NftSet,
  type Rule,
  type Ruleset,
  type SetWithElements,
} from './ruleset.ts';
import { setText } from './set.ts';

/** The ruleset as a script that `nft -f` loads, with the same effect as the messages. */
function rulesetText({ table, counters, sets, chains }: Ruleset): string {
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

/** A transaction as a script of nft's commands, with the same effect. `sets` are those that its rules look up. */
export function transactionText(changes: readonly Change[], sets: readonly NftSet[]): string {
  const named = byName(sets);
  return changes.map(change => `${commandText(change, named)}\n`).join('');
}

function commandText(change: Change, sets: ReadonlyMap<string, NftSet>): string {
  const { verb, table, object } = change;
  const command = (kind: string, name = '', body = '') =>
    [verb, kind, 'inet', table, name, body].filter(Boolean).join(' ');
  switch (object.kind) {
    case 'table': {
      const { comment } = object.table;
      return command('table', '', comment === undefined ? '' : `{ comment ${JSON.stringify(comment)}; }`);
    }
    case 'counter': {
      const { name, packets, bytes } = object.counter;
      return command('counter', name, verb === 'add' ? `{ packets ${packets} bytes ${bytes}; }` : '');
    }
    case 'set': {
      const { set } = object;
      return command(kindOf(set), set.name, verb === 'add' ? `{ ${setText(set).join('; ')}; }` : '');
    }
    case 'elements': {
      const { set } = object;
      if (verb === 'flush') return command(kindOf(set), set.name);
      return command(
        'element',
        set.name,
        `{ ${elementTexts({ ...set, elements: elementsOf(change) }).join(', ')} }`,
      );
    }
    case 'chain': {
      const { name, hook } = object.chain;
      return command('chain', name, hook ? `{ ${hookText(hook)} }` : '');
    }
    case 'rules':
      return command('chain', object.chain);
    case 'rule':
      return command('rule', object.chain, ruleText(object.rule, sets));
  }
}

/** The elements that a change adds or removes, from its bytes. */
function elementsOf({ write }: Change): Element[] {
  const writer = new AttributeWriter();
  write(writer);
  return decodeElements(new AttributeReader(writer.finish()));
}

function kindOf({ data }: NftSet): 'map' | 'set' {
  return data ? 'map' : 'set';
}

function elementTexts(set: SetWithElements): readonly string[] {
  return set.interval ? intervalTexts(set) : set.elements.map(element => elementText(set, element));
}

function setLines(set: SetWithElements): string[] {
  const elements = elementTexts(set);
  return [
    `\t${kindOf(set)} ${set.name} {`,
    ...setText(set).map(line => `\t\t${line}`),
    ...(elements.length > 0 ? [`\t\telements = { ${elements.join(',\n\t\t\t     ')} }`] : []),
    '\t}',
  ];
}

function chainLines({ name, hook, rules }: ChainWithRules, sets: ReadonlyMap<string, NftSet>): string[] {
  return [
    `\tchain ${name} {`,
    ...(hook ? [`\t\t${hookText(hook)}`] : []),
    ...rules.map(rule => `\t\t${ruleText(rule, sets)}`),
    '\t}',
  ];
}

function hookText({ name, priority, policy }: Hook): string {
  return `type filter hook ${name} priority ${priority}; policy ${policy};`;
}

/** A rule in nft's words. `sets` gives the types of the keys that it looks up. */
export function ruleText({ expressions, comment }: Rule, sets: ReadonlyMap<string, NftSet>): string {
  const rule = new RuleText(sets);
  for (const expression of expressions) expressionText(expression, rule);
  if (comment !== undefined) rule.say(`comment ${JSON.stringify(comment)}`);
  return rule.toString();
}
