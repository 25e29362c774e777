import { FAMILIES } from '../inet/family.ts';
import { compareElements, identityOf } from '../nftables/element.ts';
import { sameRule } from '../nftables/rule.ts';
import {
  byName,
  type ChainWithRules,
  type Element,
  type Hook,
  type Rule,
  type Ruleset,
  type SetWithElements,
} from '../nftables/ruleset.ts';
import { sameSet } from '../nftables/set.ts';
import { names, ownerOf } from '../ruleset/names.ts';
import { decompile, guardedPorts } from '../ruleset/program.ts';
import { isKnock } from '../ruleset/sets.ts';
import { asides, decided, dropsTheRest, isAside, willBeGuardedFirst } from './asides.ts';
import { reachable, rewritten } from './references.ts';

/**
 * The table that the next transaction should make, on the way to `wanted`. Nearly always that is `wanted` itself.
 *
 * A transaction is atomic for each packet only in its rules: in all chains, the packet takes the rules of the generation in
 * which it entered the base chain. The rest is as it is at that moment:
 *
 * - Elements of maps. A packet under way finds the new element. That may lead to a chain that has no rules in the packet's
 *   generation, or not yet those that let it in.
 * - Ranges. The kernel shows their elements to packets a little after the rules that look them up.
 * - The policy of a base chain. It also changes a little after the rules, and is applied at the end of the chain.
 * - The hooks. A new base chain is there and accepts before its rules count. One that is removed loses its rules first, while
 *   its policy still counts.
 * - Other base chains. Between two of them, a packet may pass from one generation to the next.
 *
 * If any of this could open a port that stays closed, or close one that stays open, there are stages in between. After each,
 * the loader waits until all packets under way have left:
 *
 * 1. *Held*: the current rules, made independent of what changes beside them. They read copies of the maps that are about to
 *    change, and end with their policy. If hooks change, or guards come before another base chain, {@link asides} guard as well.
 * 2. *Yielding*: a base chain that is going to move no longer drops by its policy.
 * 3. *Swapped*: all is as wanted, next to the asides and what packets under way may still read. If ranges change, the rules
 *    look up copies that are there already.
 * 4. *Parted*: if there are asides, they go before the maps that they read.
 *
 * Each stage is known by what is in the kernel, so any loader that finds one goes on from there.
 */
export function nextStage(current: Ruleset, wanted: Ruleset, isThere: (stage: Ruleset) => boolean): Ruleset {
  if (isSeamless(current, wanted))
    return current.chains.some(({ name, hook }) => hook && isAside(name)) ? parted(current, wanted) : wanted;
  const held = hold(current, wanted);
  const before = [held, yielding(held, wanted)].find(stage => !isThere(stage));
  return withRanges(current, before ?? swapped(current, wanted));
}

/** The stage, unless it needs ranges under new names. In that case it is the current table with those ranges. */
function withRanges(current: Ruleset, stage: Ruleset): Ruleset {
  const there = byName(current.sets);
  const ranges = stage.sets.filter(
    ({ name, interval, elements }) => interval && elements.length > 0 && !there.has(name),
  );
  return ranges.length === 0 ? stage : { ...current, sets: [...current.sets, ...ranges] };
}

/** Whether one transaction is enough. */
function isSeamless(current: Ruleset, wanted: Ruleset): boolean {
  if (
    current.table.dormant ||
    !(current.chains.some(dropsTheRest) || guardedPorts(decompile(current)).size > 0)
  )
    return true;
  const [there, then] = [hooks(current), hooks(wanted)];
  if (there.size !== then.size || [...there].some(([name, hook]) => !sameHook(hook, then.get(name))))
    return false;
  if (rangesThatChange(current, wanted).length > 0 || willBeGuardedFirst(current, wanted)) return false;
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
  if (
    changes.some(({ verdicts }) =>
      verdicts.some(
        ({ from, to }) => from !== undefined && to !== undefined && !isCode(to) && !chains.has(to),
      ),
    )
  )
    return false;
  const ports: readonly string[] = [names.ports, names.guards];
  const moves = changes.some(({ map, verdicts }) => ports.includes(map.name) && verdicts.length > 0);
  return !moves || letsInTheSame(current, wanted);
}

/** The hooks where packets are let in or not. The chain at `forward` lets nothing in, so it may come and go at any time. */
function hooks({ chains }: Ruleset): Map<string, Hook> {
  return new Map(
    chains.flatMap(({ name, hook }) =>
      hook && hook.name !== 'forward' && !isAside(name) ? [[name, hook]] : [],
    ),
  );
}

function sameHook(a: Hook, b: Hook | undefined): boolean {
  return samePlace(a, b) && a.policy === b?.policy;
}

function samePlace(a: Hook, b: Hook | undefined): boolean {
  return a.name === b?.name && a.priority === b.priority;
}

/** The maps of the program that hooked chains read, and that are going to change or to go. */
function mapsThatChange(current: Ruleset, wanted: Ruleset): SetWithElements[] {
  const after = byName(wanted.sets);
  const { sets: read } = reachable(
    current,
    current.chains.filter(({ name, hook }) => hook && !isAside(name)),
  );
  return current.sets.filter(set => {
    if (set.data === undefined || ownerOf(set) !== 'program' || !read.has(set.name)) return false;
    const then = after.get(set.name);
    return !then || !sameSet(set, then) || !sameElements(set.elements, then.elements);
  });
}

/** Ranges that are to let sources in, and are not yet as wanted. */
function rangesThatChange(current: Ruleset, wanted: Ruleset): SetWithElements[] {
  const there = byName(current.sets);
  return wanted.sets.filter(
    ({ name, interval, elements }) =>
      interval && elements.length > 0 && !sameElements(elements, there.get(name)?.elements ?? []),
  );
}

function sameElements(some: readonly Element[], others: readonly Element[]): boolean {
  if (some.length !== others.length) return false;
  const { added, removed } = compareElements(some, others);
  return added.length + removed.length === 0;
}

/**
 * For each key that changes, the chain or the verdict that it led to and will lead to; undefined if there is no element. A knock
 * port is as open as a port that has none.
 */
function changedVerdicts(map: SetWithElements, then: SetWithElements | undefined) {
  const { added, removed } = compareElements(map.elements, then?.elements ?? []);
  const verdicts = (elements: readonly Element[]) =>
    new Map(
      elements.flatMap(element => {
        const { data } = element;
        if (data === undefined || Buffer.isBuffer(data) || isKnock(data)) return [];
        return [[identityOf(element), 'chain' in data ? data.chain : data.code]];
      }),
    );
  const [before, after] = [verdicts(removed), verdicts(added)];
  return [...new Set([...before.keys(), ...after.keys()])]
    .map(key => ({ from: before.get(key), to: after.get(key) }))
    .filter(({ from, to }) => from !== to);
}

function isCode(verdict: string): boolean {
  return verdict === 'accept' || verdict === 'drop' || verdict === 'return' || verdict === 'continue';
}

/** Whether the chains of both that let packets in or refuse them do the same, and look up the same networks. */
function letsInTheSame(current: Ruleset, wanted: Ruleset): boolean {
  const then = byName(wanted.chains);
  const admits = ({ name, hook }: ChainWithRules) =>
    hook !== undefined || /^(guard_|closed_|exempt$|running$|resent$|admit$|interfaces$)/.test(name);
  const sameRules = (some: readonly Rule[], others: readonly Rule[]) =>
    some === others ||
    (some.length === others.length &&
      some.every(({ expressions }, index) =>
        sameRule({ expressions }, { expressions: others[index]?.expressions ?? [] }),
      ));
  const networks = ({ sets }: Ruleset, name: string) => sets.find(set => set.name === name)?.elements ?? [];
  return (
    current.chains.every(chain => {
      const other = then.get(chain.name);
      return !admits(chain) || other === undefined || sameRules(chain.rules, other.rules);
    }) &&
    FAMILIES.map(names.allowed).every(name => sameElements(networks(current, name), networks(wanted, name)))
  );
}

/** The current table, with its rules reading copies of everything beside them that is about to change. */
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

/** Base chains that will move no longer drop by policy. Without `wanted`, that is every base chain of the table. */
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

/** All as wanted, with policies as last rules, next to the asides and what packets under way may still read. */
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

/** As wanted, without asides, but with what packets in the asides still read. */
function parted(current: Ruleset, wanted: Ruleset): Ruleset {
  return beside(
    wanted,
    current.chains.filter(({ hook }) => !hook),
    current,
  );
}

/** The wanted table, some more chains, and what these may refer to. */
function beside(wanted: Ruleset, chains: readonly ChainWithRules[], from: Ruleset): Ruleset {
  return {
    table: from.table,
    counters: union(wanted.counters, from.counters),
    sets: union(wanted.sets, from.sets),
    chains: union(wanted.chains, chains),
  };
}

/** All of the first list, and from the second the objects whose names the first does not have. */
function union<T extends { readonly name: string }>(first: readonly T[], second: readonly T[]): readonly T[] {
  const there = byName(first);
  return [...first, ...second.filter(({ name }) => !there.has(name))];
}
