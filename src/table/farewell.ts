import type { Connection } from '../netlink/connection.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { deleteElements, type Element } from '../nftables/element.ts';
import { byName, type Ruleset, type SetWithElements } from '../nftables/ruleset.ts';
import { deleteTable } from '../nftables/table.ts';
import { ownerOf } from '../ruleset/names.ts';
import type { Dropped } from './fit.ts';
import { plan, takesOver } from './plan.ts';
import { withState } from './read.ts';
import { yielding } from './stages.ts';

/**
 * The next transaction that takes away a table of ours which another one stands in for; `done` where it is the last one.
 *
 * Without rules, but not yet without its hook, it would go by its policy, so that goes before. Both have seen each packet since
 * the other one was hooked in. What the old one learned while that was being done, the other one is told, and again as
 * long as packets come in between; with `atOnce` only with the last transaction.
 */
export async function planFarewell(
  connection: Connection,
  former: Ruleset,
  there: Ruleset,
  options: {
    readonly spare: number;
    readonly onDropped: (dropped: Dropped) => void;
    readonly atOnce: boolean;
  },
): Promise<{ readonly messages: readonly Message[]; readonly done: boolean }> {
  const yields = plan(former, yielding(former));
  if (yields.length > 0) return { messages: yields, done: false };
  const { missing, changed, stale, unsure } = await unknownTo(connection, there, former);
  const lesson = [
    ...there.sets.flatMap(set => deleteElements(there.table.name, set, stale.get(set.name) ?? [])),
    ...plan(there, there, { ...options, added: merged(missing, changed) }),
  ];
  if ((lesson.length > 0 || unsure) && !options.atOnce) return { messages: lesson, done: false };
  return { messages: [...lesson, deleteTable(former.table.name)], done: true };
}

interface Unknown {
  /** Elements by the name of the set: those whose keys ours does not have, and those that it has with other data. */
  readonly missing: ReadonlyMap<string, readonly Element[]>;
  readonly changed: ReadonlyMap<string, readonly Element[]>;
  /** What ours has in place of `changed`. */
  readonly stale: ReadonlyMap<string, readonly Element[]>;
  /** Packets came so fast that it cannot be told of all. */
  readonly unsure: boolean;
}

/**
 * What is known to the state of a former table, but for meters, and not or otherwise to ours. Ours is read before and after: a
 * client that goes on meanwhile is known to both.
 */
export async function unknownTo(connection: Connection, there: Ruleset, former: Ruleset): Promise<Unknown> {
  const read = async (ruleset: Ruleset) =>
    new Map((await withState(connection, ruleset)).sets.map(set => [set.name, byKey(set)]));
  const before = await read(there);
  const theirs = await read(former);
  const after = await read(there);
  const own = byName(there.sets);
  const unknown = {
    missing: new Map<string, readonly Element[]>(),
    changed: new Map<string, readonly Element[]>(),
    stale: new Map<string, readonly Element[]>(),
  };
  let unsure = false;
  for (const set of former.sets) {
    const mine = own.get(set.name);
    if (!mine || ownerOf(mine) !== 'packets' || !takesOver(set, mine)) continue;
    const differing = [...(theirs.get(set.name) ?? [])].flatMap(([key, element]) => {
      const [was, is] = [before, after].map(state => state.get(set.name)?.get(key));
      if (sameData(was, element) || sameData(is, element)) return [];
      if (sameData(was, is)) return [{ element, is }];
      unsure = true;
      return [];
    });
    unknown.missing.set(
      set.name,
      differing.filter(({ is }) => !is).map(({ element }) => element),
    );
    unknown.changed.set(
      set.name,
      differing.filter(({ is }) => is).map(({ element }) => element),
    );
    unknown.stale.set(
      set.name,
      differing.flatMap(({ is }) => is ?? []),
    );
  }
  return { ...unknown, unsure };
}

/** The elements of some maps by the name of the set, together. */
export function merged(
  ...maps: readonly ReadonlyMap<string, readonly Element[]>[]
): ReadonlyMap<string, readonly Element[]> {
  const names = new Set(maps.flatMap(map => [...map.keys()]));
  return new Map([...names].map(name => [name, maps.flatMap(map => map.get(name) ?? [])]));
}

function byKey({ elements }: SetWithElements): ReadonlyMap<string, Element> {
  return new Map(elements.map(element => [element.key.toString('latin1'), element]));
}

/** Whether both are not there, or hold the same. */
function sameData(a: Element | undefined, b: Element | undefined): boolean {
  if (!a || !b) return a === b;
  return Buffer.isBuffer(a.data) && Buffer.isBuffer(b.data) ? a.data.equals(b.data) : a.data === b.data;
}
