import type { Hook } from '../nftables/chain.ts';
import { type Element, sameElement } from '../nftables/element.ts';
import { type Rule, sameRule } from '../nftables/rule.ts';
import { byName, type ChainWithRules, type Ruleset, type SetWithElements } from '../nftables/ruleset.ts';
import { sameSet } from '../nftables/set.ts';
import { FAMILIES, names, ownerOf } from '../ruleset/names.ts';
import { guardedPorts } from '../ruleset/program.ts';
import { asides, decided, isAside } from './asides.ts';
import { reachable, rewritten, setsOf } from './references.ts';

/**
 * What the next transaction is to make of the table, on the way to `wanted`: nearly always `wanted` itself.
 *
 * A transaction is atomic for each packet in its rules only: the packet takes them, of all chains, from the generation in
 * which it entered the base chain. The rest is as it is at that moment:
 *
 * - Elements of maps. A packet under way finds the new element, and goes to a chain that has no rules in its generation, or
 *   not yet those that let it in.
 * - Ranges. The kernel puts their elements where packets find them a little after the rules that ask for them.
 * - The policy of a base chain, which also changes a little after the rules do, and is asked at the end.
 * - The hooks. A base chain is there, and accepts, before its rules count; one that goes loses its rules first, and its
 *   policy still counts. Between two base chains a packet may pass from one generation to the next.
 *
 * Where any of this could open a port that stays closed, or close one that stays open, there are stages in between, and
 * whoever commits them lets all packets leave that are under way:
 *
 * 1. *Held*: all that is read from the current generation is written into the rules as they are. They read copies of the
 *    maps that are about to change, end with their policy, and where hooks change, chains {@link asides} guard as well.
 * 2. *Yielding*: a base chain that is to be made elsewhere does not drop by its policy any more.
 * 3. *Swapped*: all as it is wanted, beside the asides and what packets under way may still read; where ranges change, rules ask
 *    copies that are there already.
 * 4. *Parted*: where there are asides, they go before the maps that they read.
 *
 * Each is told by what is there, so whoever finds one of them goes on from there.
 */
export function nextStage(current: Ruleset, wanted: Ruleset, isThere: (stage: Ruleset) => boolean): Ruleset {
  if (isSeamless(current, wanted))
    return current.chains.some(({ name, hook }) => hook && isAside(name)) ? parted(current, wanted) : wanted;
  const held = hold(current, wanted);
  const before = [held, yielding(held, wanted)].find(stage => !isThere(stage));
  return withRanges(current, before ?? swapped(current, wanted));
}

/** The stage, unless it needs ranges under new names: then what is there, and those. */
function withRanges(current: Ruleset, stage: Ruleset): Ruleset {
  const there = byName(current.sets);
  const ranges = stage.sets.filter(
    ({ name, interval, elements }) => interval && elements.length > 0 && !there.has(name),
  );
  return ranges.length === 0 ? stage : { ...current, sets: [...current.sets, ...ranges] };
}

/** Whether one transaction does. */
function isSeamless(current: Ruleset, wanted: Ruleset): boolean {
  if (current.table.dormant || !(dropsByPolicy(current) || guardedPorts(current).size > 0)) return true;
  const [there, then] = [hooks(current), hooks(wanted)];
  if (there.size !== then.size || [...there].some(([name, hook]) => !sameHook(hook, then.get(name))))
    return false;
  if (rangesThatChange(current, wanted).length > 0) return false;
  const after = byName(wanted.sets);
  const changed = mapsThatChange(current, wanted);
  if (
    changed.some(map => {
      const then = after.get(map.name);
      return !then || !sameSet(map, then);
    })
  )
    return false;
  const chains = byName(current.chains);
  const changes = changed.map(map => ({ map, verdicts: changedVerdicts(map, after.get(map.name)) }));
  // a knock port is as open as a port that is not named at all
  const isAnswer = (verdict: string | undefined) => verdict !== undefined && verdict !== 'knock';
  if (
    changes.some(({ verdicts }) =>
      verdicts.some(({ from, to }) => isAnswer(from) && to !== undefined && !isCode(to) && !chains.has(to)),
    )
  )
    return false;
  const ports: readonly string[] = [names.ports, names.guards];
  const moves = changes.some(
    ({ map, verdicts }) =>
      ports.includes(map.name) && verdicts.some(({ from, to }) => isAnswer(from) || isAnswer(to)),
  );
  return !moves || letsInTheSame(current, wanted);
}

function dropsByPolicy({ chains }: Ruleset): boolean {
  return chains.some(({ hook }) => hook?.policy === 'drop');
}

function hooks({ chains }: Ruleset): Map<string, Hook> {
  return new Map(chains.flatMap(({ name, hook }) => (hook && !isAside(name) ? [[name, hook]] : [])));
}

function sameHook(a: Hook, b: Hook | undefined): boolean {
  return samePlace(a, b) && a.policy === b?.policy;
}

function samePlace(a: Hook, b: Hook | undefined): boolean {
  return a.name === b?.name && a.priority === b.priority;
}

/** The maps of the program that hooked chains read, and that are to be otherwise or to go. */
function mapsThatChange(current: Ruleset, wanted: Ruleset): SetWithElements[] {
  const after = byName(wanted.sets);
  const read = setsOf(
    reachable(
      current,
      current.chains.filter(({ name, hook }) => hook && !isAside(name)),
    ),
  );
  return current.sets.filter(set => {
    if (set.data === undefined || ownerOf(set) !== 'program' || !read.has(set.name)) return false;
    const then = after.get(set.name);
    return !then || !sameSet(set, then) || !sameElements(set.elements, then.elements);
  });
}

/** Ranges that are to let somebody in, and are not there as they are wanted. */
function rangesThatChange(current: Ruleset, wanted: Ruleset): SetWithElements[] {
  const there = byName(current.sets);
  return wanted.sets.filter(
    ({ name, interval, elements }) =>
      interval && elements.length > 0 && !sameElements(elements, there.get(name)?.elements ?? []),
  );
}

const keyOf = ({ key, end, all }: Element) =>
  `${key.toString('latin1')}${end ? 'end' : ''}${all ? 'all' : ''}`;

function sameElements(some: readonly Element[], others: readonly Element[]): boolean {
  const there = new Map(others.map(element => [keyOf(element), element]));
  return (
    some.length === others.length &&
    some.every(element => {
      const other = there.get(keyOf(element));
      return other !== undefined && sameElement(element, other);
    })
  );
}

/** Where keys led and will lead, if not to the same: to a chain, or a verdict's code; undefined where there is no element. */
function changedVerdicts(map: SetWithElements, then: SetWithElements | undefined) {
  const verdicts = (set: SetWithElements | undefined) =>
    new Map(
      set?.elements.flatMap(element => {
        const { data } = element;
        if (data === undefined || Buffer.isBuffer(data)) return [];
        return [[keyOf(element), 'chain' in data ? data.chain : data.code]];
      }),
    );
  const [before, after] = [verdicts(map), verdicts(then)];
  return [...new Set([...before.keys(), ...after.keys()])]
    .map(key => ({ from: before.get(key), to: after.get(key) }))
    .filter(({ from, to }) => from !== to);
}

function isCode(verdict: string): boolean {
  return verdict === 'accept' || verdict === 'drop' || verdict === 'return' || verdict === 'continue';
}

/** Whether the chains that let in or not, as far as both have them, do the same, and ask the same networks. */
function letsInTheSame(current: Ruleset, wanted: Ruleset): boolean {
  const then = byName(wanted.chains);
  const admits = ({ name, hook }: ChainWithRules) =>
    hook !== undefined || /^(guard_|closed_|exempt$|running$|resent$|admit$|interfaces$)/.test(name);
  const sameRules = (some: readonly Rule[], others: readonly Rule[]) =>
    some.length === others.length &&
    some.every(({ expressions }, index) =>
      sameRule({ expressions }, { expressions: others[index]?.expressions ?? [] }),
    );
  const networks = ({ sets }: Ruleset, name: string) => sets.find(set => set.name === name)?.elements ?? [];
  return (
    current.chains.every(chain => {
      const other = then.get(chain.name);
      return !admits(chain) || other === undefined || sameRules(chain.rules, other.rules);
    }) &&
    FAMILIES.map(names.allowed).every(name => sameElements(networks(current, name), networks(wanted, name)))
  );
}

/** What is there, with all written into its rules that is about to change beside them. */
function hold(current: Ruleset, wanted: Ruleset): Ruleset {
  const then = hooks(wanted);
  const maps = mapsThatChange(current, wanted).filter(({ name }) => !isHeld(name));
  const copied = new Map(maps.map(({ name }) => [name, names.held(name)]));
  const copies = maps.map(map => ({ ...map, name: names.held(map.name) }));
  const held = {
    ...current,
    sets: union(
      copies,
      current.sets.filter(({ name }) => !isAside(name)),
    ),
    chains: current.chains
      .filter(({ name }) => !isAside(name))
      .map(chain => rewritten(chain, { sets: copied }))
      .map(chain => (chain.hook && !sameHook(chain.hook, then.get(chain.name)) ? decided(chain) : chain)),
  };
  const { chains, sets } = asides(held, wanted);
  return { ...held, chains: union(held.chains, chains), sets: union(held.sets, sets) };
}

function isHeld(name: string): boolean {
  return name.startsWith(names.held(''));
}

/** Without the policies of base chains that will not be where they are; of none, where nothing of the table will be. */
export function yielding(held: Ruleset, wanted?: Ruleset): Ruleset {
  const then = wanted ? hooks(wanted) : new Map<string, Hook>();
  return {
    ...held,
    chains: held.chains.map(chain =>
      chain.hook && !isAside(chain.name) && !samePlace(chain.hook, then.get(chain.name))
        ? { ...chain, hook: { ...chain.hook, policy: 'accept' } }
        : chain,
    ),
  };
}

/** All as it is wanted, and decided, beside the asides and what packets under way may still read. */
function swapped(current: Ruleset, wanted: Ruleset): Ruleset {
  const there = hooks(current);
  const ranges = rangesThatChange(current, wanted);
  const copied = new Map(ranges.map(({ name }) => [name, names.coming(name)]));
  const chains = wanted.chains
    .map(chain => rewritten(chain, { sets: copied }))
    .map(chain => (chain.hook && !sameHook(chain.hook, there.get(chain.name)) ? decided(chain) : chain));
  const copies = ranges.map(set => ({ ...set, name: names.coming(set.name) }));
  return beside(
    { ...wanted, chains, sets: [...wanted.sets, ...copies] },
    current.chains.filter(({ name, hook }) => !hook || isAside(name)),
    current,
  );
}

/** As wanted, without asides, but with what packets in them still read. */
function parted(current: Ruleset, wanted: Ruleset): Ruleset {
  return beside(
    wanted,
    current.chains.filter(({ hook }) => !hook),
    current,
  );
}

/** What is wanted, some chains, and what these may refer to. */
function beside(wanted: Ruleset, chains: readonly ChainWithRules[], from: Ruleset): Ruleset {
  return {
    table: from.table,
    counters: union(wanted.counters, from.counters),
    sets: union(wanted.sets, from.sets),
    chains: union(wanted.chains, chains),
  };
}

/** All of the first, and of the second what the first has no object of that name for. */
function union<T extends { readonly name: string }>(first: readonly T[], second: readonly T[]): readonly T[] {
  const there = byName(first);
  return [...first, ...second.filter(({ name }) => !there.has(name))];
}
