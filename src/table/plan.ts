import { deleteChain, newChain } from '../nftables/chain.ts';
import type { Change } from '../nftables/change.ts';
import { compareElements, deleteElements, flushSet, newElements } from '../nftables/element.ts';
import { deleteCounter, newCounter } from '../nftables/named-counter.ts';
import { flushChain, newRule, sameRule } from '../nftables/rule.ts';
import {
  byName,
  type ChainWithRules,
  type Element,
  type NftSet,
  type Ruleset,
  type SetWithElements,
} from '../nftables/ruleset.ts';
import { deleteSet, newSet, sameSet } from '../nftables/set.ts';
import { newTable } from '../nftables/table.ts';
import { holds, ownerOf } from '../ruleset/names.ts';
import { chooseElements, type Dropped } from './fit.ts';
import { setOf } from './references.ts';

/**
 * The transaction that turns the current table into the wanted one. It leaves equal parts alone.
 *
 * `current` is our table as it is in the kernel, undefined if there is none. Its state needs elements only for the sets that
 * {@link recreatedState} names. `former` is a table of ours under another name, with its state: a new table takes over that
 * state. `added` and `widened` are elements for sets of state, `remembered` are those for sets that have to be made.
 * {@link chooseElements} says which of all these fit. In a set that stays, the part `spare` of its size is left to packets that
 * come before the transaction. `onDropped` hears what does not fit.
 *
 * The kernel makes a set's hash table for as many elements as its size says: 1 MiB for 65535, which it walks through every
 * second. With `sizeInPlace` a set is made without a size, and the next message gives it one, so that it starts small.
 */
export function plan(
  current: Ruleset | undefined,
  wanted: Ruleset,
  options: {
    readonly former?: Ruleset | undefined;
    readonly added?: ReadonlyMap<string, readonly Element[]>;
    readonly widened?: ReadonlyMap<string, readonly Element[]>;
    readonly spare?: number;
    readonly onDropped?: (dropped: Dropped) => void;
    readonly remembered?: ReadonlyMap<string, readonly Element[]>;
    readonly sizeInPlace?: boolean;
  } = {},
): Change[] {
  const table = wanted.table.name;
  const { former, added, widened, remembered, spare = 0, sizeInPlace = true } = options;
  const there = index(current);
  const before = index(former);
  const sets = wanted.sets.map(set =>
    planSet(set, there.sets.get(set.name), before.sets.get(set.name), sizeInPlace),
  );
  const recreated = new Set(sets.flatMap(({ set, is }) => (is === 'recreated' ? [set.name] : [])));
  const chains = wanted.chains.map(chain => planChain(chain, there.chains.get(chain.name), recreated));
  const { sets: wantedSets, chains: wantedChains, counters: wantedCounters } = index(wanted);
  const goneSets = (current?.sets ?? []).filter(({ name }) => !wantedSets.has(name));
  const goneChains = (current?.chains ?? []).filter(({ name }) => !wantedChains.has(name));
  const goneCounters = (current?.counters ?? []).filter(({ name }) => !wantedCounters.has(name));
  const isNew = (is: Fate) => is === 'new' || is === 'recreated';

  return [
    // a table that another program put to sleep guards nothing; sending its flags again wakes it
    ...(current && !current.table.dormant ? [] : [newTable(wanted.table)]),
    // first delete what refers to other objects, then those
    ...chains
      .filter(({ is }) => is === 'recreated' || is === 'changed')
      .map(({ chain }) => flushChain(table, chain.name)),
    ...goneChains.map(({ name }) => flushChain(table, name)),
    ...sets.flatMap(({ set, removed }) => deleteElements(table, set, removed)),
    ...[...sets.flatMap(({ is, set }) => (is === 'recreated' ? [set] : [])), ...goneSets].map(set =>
      deleteSet(table, there.sets.get(set.name) ?? set),
    ),
    ...[...chains.flatMap(({ is, chain }) => (is === 'recreated' ? [chain] : [])), ...goneChains].map(
      ({ name }) => deleteChain(table, name),
    ),
    ...goneCounters.map(({ name }) => deleteCounter(table, name)),
    // then make what others refer to, then the others
    ...wanted.counters
      .filter(({ name }) => !there.counters.has(name))
      .map(counter => newCounter(table, before.counters.get(counter.name) ?? counter)),
    ...sets.filter(({ is }) => isNew(is)).flatMap(({ set }) => makeSet(table, set, sizeInPlace)),
    ...sets.filter(({ is }) => is === 'resized').map(({ set }) => newSet(table, set)),
    ...chains.filter(({ is, policy }) => isNew(is) || policy).map(({ chain }) => newChain(table, chain)),
    ...sets.flatMap(planned =>
      ownerOf(planned.set) === 'packets'
        ? stateChanges(planned)
        : newElements(table, planned.set, planned.added),
    ),
    ...chains
      .filter(({ is }) => is !== 'same')
      .flatMap(({ chain }) =>
        chain.rules.map((rule, number) => newRule(table, chain.name, rule, number + 1)),
      ),
  ];

  function stateChanges({ set, is, added: carried }: PlannedSet): Change[] {
    const old = isNew(is) ? undefined : there.sets.get(set.name);
    if (old && spare === 1) return [];
    const size = Math.min(set.size ?? Number.POSITIVE_INFINITY, old?.size ?? Number.POSITIVE_INFINITY);
    const { flush, elements, dropped } = chooseElements(
      {
        carried,
        widened: widened?.get(set.name) ?? [],
        added: added?.get(set.name) ?? [],
        // the kernel refuses another user for an existing client
        remembered: (is === 'new' && remembered?.get(set.name)) || [],
      },
      old ? size * (1 - spare) : size,
      old && (old.count ?? old.elements.length),
    );
    if (dropped > 0) options.onDropped?.({ set: set.name, count: dropped });
    return [...(flush ? [flushSet(table, set)] : []), ...newElements(table, set, elements)];
  }
}

/** Up to this size, the memory of a hash table costs less than the time for a second message. */
const SMALL = 1024;

function makeSet(table: string, set: NftSet, sizeInPlace: boolean): Change[] {
  const { size, ...unbounded } = set;
  return size !== undefined && size > SMALL && sizeInPlace
    ? [newSet(table, unbounded), newSet(table, set)]
    : [newSet(table, set)];
}

/** The names of state sets that have to be made again. Their elements must be read, because they move to the new set. */
export function recreatedState(current: Ruleset, wanted: Ruleset, sizeInPlace: boolean): string[] {
  const there = index(current).sets;
  return wanted.sets.flatMap(set => {
    const old = there.get(set.name);
    return old && !sameSet(old, set) && ownerOf(old) === 'packets' && !(sizeInPlace && sameButSize(old, set))
      ? [old.name]
      : [];
  });
}

type Fate = 'same' | 'changed' | 'resized' | 'new' | 'recreated';

interface PlannedSet {
  readonly set: SetWithElements;
  readonly is: Fate;
  readonly added: readonly Element[];
  readonly removed: readonly Element[];
}

function planSet(
  wanted: SetWithElements,
  current: SetWithElements | undefined,
  former: SetWithElements | undefined,
  sizeInPlace: boolean,
): PlannedSet {
  const whole = (is: Fate, old: SetWithElements | undefined): PlannedSet => ({
    set: wanted,
    is,
    added: ownerOf(wanted) === 'program' ? wanted.elements : carriedOver(old, wanted),
    removed: [],
  });
  if (!current) return whole('new', former);
  if (sizeInPlace && !sameSet(current, wanted) && sameButSize(current, wanted))
    return { set: wanted, is: 'resized', added: [], removed: [] };
  if (!sameSet(current, wanted)) return whole('recreated', current);
  if (ownerOf(wanted) !== 'program') return { set: wanted, is: 'same', added: [], removed: [] };
  const { added, removed } = compareElements(current.elements, wanted.elements);
  const same = added.length + removed.length === 0;
  // ranges are pairs of points: all of them or none
  if (wanted.interval && !same) return whole('recreated', current);
  return { set: wanted, is: same ? 'same' : 'changed', added, removed };
}

/** Whether the kernel can turn one into the other by giving it a size. */
function sameButSize(current: NftSet, wanted: NftSet): boolean {
  return wanted.size !== undefined && sameSet({ ...current, size: wanted.size }, wanted);
}

/**
 * The elements that a new set of state takes over from an old one. Elements of a meter hold more than a time, so they stay
 * behind, and a source starts with a full bucket again.
 */
function carriedOver(old: SetWithElements | undefined, wanted: SetWithElements): readonly Element[] {
  return old && takesOver(old, wanted) ? old.elements : [];
}

/** Whether the elements of one set of state make sense in the other. */
export function takesOver(old: NftSet, wanted: NftSet): boolean {
  return keyNames(old) === keyNames(wanted) && old.data === wanted.data && holds(wanted.name) !== 'knockers';
}

function keyNames(set: NftSet): string {
  return set.types.map(type => type.name).join(' . ');
}

interface PlannedChain {
  readonly chain: ChainWithRules;
  readonly is: Fate;
  /** Only the policy of a base chain changes. That is done in place. */
  readonly policy: boolean;
}

function planChain(
  wanted: ChainWithRules,
  current: ChainWithRules | undefined,
  recreatedSets: ReadonlySet<string>,
): PlannedChain {
  if (!current) return { chain: wanted, is: 'new', policy: false };
  if (current.hook?.name !== wanted.hook?.name || current.hook?.priority !== wanted.hook?.priority)
    return { chain: wanted, is: 'recreated', policy: false };
  const policy = current.hook?.policy !== wanted.hook?.policy;
  const sameRules =
    current.rules === wanted.rules ||
    (current.rules.length === wanted.rules.length &&
      wanted.rules.every((rule, number) => {
        const there = current.rules[number];
        return there !== undefined && sameRule(there, rule);
      }));
  const refers =
    recreatedSets.size > 0 &&
    current.rules.some(({ expressions }) =>
      expressions.some(expression => recreatedSets.has(setOf(expression) ?? '')),
    );
  return { chain: wanted, is: sameRules && !refers ? 'same' : 'changed', policy };
}

function index(ruleset: Ruleset | undefined) {
  const { sets = [], chains = [], counters = [] } = ruleset ?? {};
  return { sets: byName(sets), chains: byName(chains), counters: byName(counters) };
}
