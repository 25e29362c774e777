// table/ reads our table in the kernel, compares it, changes it in transactions, and remembers its clients.
// load.ts changes a whole table, openings.ts a single client; writer.ts commits what they plan.
// Floor 4: it imports only from rooms on lower floors.

import { identityOf } from '../nftables/element.ts';
import type { Expression } from '../nftables/expression.ts';
import {
  byName,
  type ChainWithRules,
  type Element,
  type Ruleset,
  type SetWithElements,
} from '../nftables/ruleset.ts';
import type { Verdict } from '../nftables/verdict.ts';
import { jump, verdict } from '../ruleset/match.ts';
import { names, ownerOf, serviceOfGuard } from '../ruleset/names.ts';
import { isKnock } from '../ruleset/sets.ts';
import { chainOf, reachable, rewritten } from './references.ts';

/**
 * Base chains that guard while others move to another hook or priority. Meanwhile a packet may pass the old chain when it has
 * no rules any more, and the new one when it has none yet. One also guards if {@link willBeGuardedFirst} says so.
 *
 * Each aside copies a base chain and all chains behind it. It lets in the same clients, but changes nothing: it uses up no
 * opening, looks at no knock, counts nothing and reports nothing. It comes before the chain that it copies, since that chain
 * may use up an opening, which the aside would then not find. For the same reason asides copy the wanted ruleset if that
 * guards at `prerouting`, and otherwise the current one.
 */
export function asides(current: Ruleset, wanted: Ruleset): Pick<Ruleset, 'chains' | 'sets'> {
  const [there, then] = [byName(current.chains), byName(wanted.chains)];
  const from = then.get('prerouting')?.hook ? wanted : current;
  const source = byName(from.chains);
  const bases = ['prerouting', 'input'].flatMap((name): ChainWithRules[] => {
    const [old, next, chain] = [there.get(name)?.hook, then.get(name)?.hook, source.get(name)];
    if (!next || !chain?.hook) return [];
    const moves = old?.name !== next.name || old.priority !== next.priority;
    if (!moves && !(name === 'prerouting' && willBeGuardedFirst(current, wanted))) return [];
    const priority = Math.min(old?.priority ?? next.priority, next.priority) - 1;
    return [{ ...decided(chain), hook: { name: next.name, priority, policy: 'accept' } }];
  });
  return copy(from, bases);
}

/**
 * Whether a port that is closed at `input`, since it is not named and all others are dropped, is going to be guarded at
 * `prerouting`. Then `input` lets through what comes to it. A packet that passed `prerouting` before its guard was there must
 * not meet that.
 */
export function willBeGuardedFirst(current: Ruleset, wanted: Ruleset): boolean {
  if (!current.chains.some(chain => chain.name === 'input' && dropsTheRest(chain))) return false;
  const guards = ({ sets }: Ruleset) => sets.find(({ name }) => name === names.guards)?.elements ?? [];
  const there = new Set(guards(current).map(identityOf));
  return guards(wanted).some(element => !there.has(identityOf(element)));
}

const PREFIX = names.aside('');

export function isAside(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** A base chain with its policy as its last rule. A `goto` at the end becomes a jump, so that packets come back to that rule. */
export function decided(chain: ChainWithRules): ChainWithRules {
  const end = verdictAtEnd(chain);
  if (!chain.hook || end?.code === 'accept' || end?.code === 'drop') return chain;
  const last = chain.rules.at(-1);
  const rules =
    last && end?.code === 'goto'
      ? [...chain.rules.slice(0, -1), { ...last, expressions: jump(end.chain) }]
      : chain.rules;
  return { ...chain, rules: [...rules, { expressions: verdict({ code: chain.hook.policy }) }] };
}

/** Whether a base chain drops what no rule decides: by its policy, or by a last rule that stands in for it. */
export function dropsTheRest(chain: ChainWithRules): boolean {
  return chain.hook !== undefined && verdictAtEnd(decided(chain))?.code === 'drop';
}

/** The verdict of the last rule, if it is for all packets. */
function verdictAtEnd({ rules }: ChainWithRules): Verdict | undefined {
  const [only, more] = rules.at(-1)?.expressions ?? [];
  return only?.kind === 'immediate' && 'verdict' in only && !more ? only.verdict : undefined;
}

function copy(from: Ruleset, bases: readonly ChainWithRules[]): Pick<Ruleset, 'chains' | 'sets'> {
  const looking = {
    ...from,
    sets: from.sets.map(set => ({ ...set, elements: set.elements.flatMap(answer) })),
    chains: from.chains.map(looks),
  };
  const { chains, sets: asked } = reachable(looking, bases.map(looks));
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

/** Keeps an element that leads to a guard or to no chain. Accepts a possible knock, so that the other chain sees it. */
function answer(element: Element): Element[] {
  const { data } = element;
  if (data === undefined || Buffer.isBuffer(data)) return [element];
  if (isKnock(data)) return [{ ...element, data: { code: 'accept' } }];
  return !('chain' in data) || serviceOfGuard(data.chain) !== undefined ? [element] : [];
}

/** The chain without expressions that change something, and without the way to `knock`. */
function looks(chain: ChainWithRules): ChainWithRules {
  return {
    ...chain,
    rules: chain.rules
      .filter(({ expressions }) => !expressions.some(it => chainOf(it) === 'stray'))
      .map(({ expressions }) => ({
        expressions: expressions.filter(it => !changes(it) && chainOf(it) !== 'knock'),
      })),
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
