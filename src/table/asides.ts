import type { Element } from '../nftables/element.ts';
import type { Expression } from '../nftables/expression.ts';
import { byName, type ChainWithRules, type Ruleset, type SetWithElements } from '../nftables/ruleset.ts';
import { jump, verdict } from '../ruleset/match.ts';
import { names, ownerOf, serviceOfGuard } from '../ruleset/names.ts';
import { chainOf, reachable, rewritten, setsOf } from './references.ts';

/**
 * Base chains that guard while others are made elsewhere: a packet may pass those when the old one has no rules any more,
 * and the new one has none yet.
 *
 * Each is a copy of a base chain, and of all behind it, that lets in whom the other lets in, but changes nothing: it uses no
 * opening up, looks at no knock, counts and tells nothing. It comes before the other, to which an opening that was used up
 * is none any more. For the same reason it is a copy of what is wanted where that guards at `prerouting`, and else of what is
 * there.
 */
export function asides(current: Ruleset, wanted: Ruleset): Pick<Ruleset, 'chains' | 'sets'> {
  const [there, then] = [byName(current.chains), byName(wanted.chains)];
  const from = then.get('prerouting')?.hook ? wanted : current;
  const source = byName(from.chains);
  const bases = ['prerouting', 'input'].flatMap((name): ChainWithRules[] => {
    const [old, next, chain] = [there.get(name)?.hook, then.get(name)?.hook, source.get(name)];
    if (!next || !chain?.hook || (old?.name === next.name && old.priority === next.priority)) return [];
    const priority = Math.min(old?.priority ?? next.priority, next.priority) - 1;
    return [{ ...decided(chain), hook: { name: next.name, priority, policy: 'accept' } }];
  });
  return copy(from, bases);
}

const PREFIX = names.aside('');

export function isAside(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** A base chain with its policy as its last rule, which packets also come to after a chain that they were sent to for good. */
export function decided(chain: ChainWithRules): ChainWithRules {
  const last = chain.rules.at(-1);
  const [only, more] = last?.expressions ?? [];
  const end = only?.kind === 'immediate' && 'verdict' in only && !more ? only.verdict : undefined;
  if (!chain.hook || end?.code === 'accept' || end?.code === 'drop') return chain;
  const rules =
    last && end?.code === 'goto'
      ? [...chain.rules.slice(0, -1), { ...last, expressions: jump(end.chain) }]
      : chain.rules;
  return { ...chain, rules: [...rules, { expressions: verdict({ code: chain.hook.policy }) }] };
}

function copy(from: Ruleset, bases: readonly ChainWithRules[]): Pick<Ruleset, 'chains' | 'sets'> {
  const looking = {
    ...from,
    sets: from.sets.map(set => ({ ...set, elements: set.elements.flatMap(answer) })),
    chains: from.chains.map(looks),
  };
  const chains = reachable(looking, bases.map(looks));
  const asked = setsOf(chains);
  const sets = looking.sets.filter(set => asked.has(set.name));
  const program = sets.filter(set => ownerOf(set) === 'program');
  const renaming = {
    sets: new Map(program.map(({ name }) => [name, names.aside(name)])),
    chains: new Map(chains.map(({ name }) => [name, names.aside(name)])),
  };
  const elements = (set: SetWithElements) =>
    set.elements.map(element =>
      element.data && 'chain' in element.data
        ? { ...element, data: { ...element.data, chain: names.aside(element.data.chain) } }
        : element,
    );
  return {
    chains: chains.map(chain => ({ ...rewritten(chain, renaming), name: names.aside(chain.name) })),
    sets: [
      ...program.map(set => ({ ...set, name: names.aside(set.name), elements: elements(set) })),
      ...sets.filter(set => ownerOf(set) !== 'program').map(set => ({ ...set, elements: [] })),
    ],
  };
}

/** An element that leads to a guard, or nowhere else. What may be a knock passes, so that the other chain sees it. */
function answer(element: Element): Element[] {
  const { data } = element;
  if (!(data && 'chain' in data) || serviceOfGuard(data.chain) !== undefined) return [element];
  return data.chain === 'knock' ? [{ ...element, data: { code: 'accept' } }] : [];
}

/** The chain without what changes something. */
function looks(chain: ChainWithRules): ChainWithRules {
  return {
    ...chain,
    rules: chain.rules
      .filter(({ expressions }) => !expressions.some(it => chainOf(it) === 'stray'))
      .map(({ expressions }) => ({ expressions: expressions.filter(it => !changes(it)) })),
  };
}

function changes(expression: Expression): boolean {
  switch (expression.kind) {
    case 'dynset':
    case 'objref':
    case 'counter':
    case 'log':
      return true;
    case 'meta':
      return 'sreg' in expression;
    default:
      return false;
  }
}
