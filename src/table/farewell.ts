import type { Connection } from '../netlink/connection.ts';
import type { Change } from '../nftables/change.ts';
import { deleteElements } from '../nftables/element.ts';
import { byName, type Element, type Ruleset, type SetWithElements } from '../nftables/ruleset.ts';
import { deleteTable } from '../nftables/table.ts';
import { ownerOf } from '../ruleset/names.ts';
import type { Dropped } from './fit.ts';
import { plan, takesOver } from './plan.ts';
import { withState } from './read.ts';
import { yielding } from './stages.ts';

/**
 * The next transaction on the way to remove a former table of ours that another one stands in for. `done` says that it is the
 * last one.
 *
 * A table without rules that still has its hook decides by its policy, so the policy goes first. Both tables have seen each
 * packet since the new one was hooked in. The new one learns what the old one had learned by then, and again as long as
 * packets come in between. With `atOnce` it learns that only in the last transaction.
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
): Promise<{ readonly changes: readonly Change[]; readonly done: boolean }> {
  const yields = plan(former, yielding(former));
  if (yields.length > 0) return { changes: yields, done: false };
  const { missing, changed, stale, unsure } = await unknownTo(connection, there, former);
  const lesson = [
    ...there.sets.flatMap(set => deleteElements(there.table.name, set, stale.get(set.name) ?? [])),
    ...plan(there, there, { ...options, added: merged(missing, changed) }),
  ];
  if ((lesson.length > 0 || unsure) && !options.atOnce) return { changes: lesson, done: false };
  return { changes: [...lesson, deleteTable(former.table.name)], done: true };
}

interface Unknown {
  /** Elements by the name of the set: those whose keys our table lacks, and those that it has with other data. */
  readonly missing: ReadonlyMap<string, readonly Element[]>;
  readonly changed: ReadonlyMap<string, readonly Element[]>;
  /** The elements that our table has in place of `changed`. */
  readonly stale: ReadonlyMap<string, readonly Element[]>;
  /** Packets came so fast that we cannot tell for every element. */
  readonly unsure: boolean;
}

/**
 * The elements of a former table's state that our table lacks or has with other data. Meters do not count. Our table is read
 * before and after the former one, because both know a client that advances meanwhile.
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

/** The elements of several maps in one, by the name of the set. */
export function merged(
  ...maps: readonly ReadonlyMap<string, readonly Element[]>[]
): ReadonlyMap<string, readonly Element[]> {
  const names = new Set(maps.flatMap(map => [...map.keys()]));
  return new Map([...names].map(name => [name, maps.flatMap(map => map.get(name) ?? [])]));
}

function byKey({ elements }: SetWithElements): ReadonlyMap<string, Element> {
  return new Map(elements.map(element => [element.key.toString('latin1'), element]));
}

/** Whether both elements are missing, or hold the same. */
function sameData(a: Element | undefined, b: Element | undefined): boolean {
  if (!a || !b) return a === b;
  return Buffer.isBuffer(a.data) && Buffer.isBuffer(b.data) ? a.data.equals(b.data) : a.data === b.data;
}
