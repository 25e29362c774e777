import { type Connection, type Reply, wholeDump } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { attributesOf, type Message, requestOf } from '../netlink/nfnetlink.ts';
import { decodeChain, getChains } from '../nftables/chain.ts';
import { decodeElements, getElement, getElements } from '../nftables/element.ts';
import { decodeCounter, getCounters } from '../nftables/named-counter.ts';
import { decodeRule, getRules } from '../nftables/rule.ts';
import {
  byName,
  type ChainWithRules,
  type Element,
  type NamedCounter,
  type NftSet,
  type Rule,
  type Ruleset,
  type SetWithElements,
  type Table,
} from '../nftables/ruleset.ts';
import { decodeSet, getSets } from '../nftables/set.ts';
import { decodeTable, getTables } from '../nftables/table.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { holdsConnections, MARK, ownerOf } from '../ruleset/names.ts';

/** The tables of family inet at one generation of the ruleset. */
export interface Kernel {
  readonly generation: number;
  readonly tables: readonly Table[];
  /** The tables with our mark, read whole but for the elements of state, which are many and seldom needed. */
  readonly ours: readonly Ruleset[];
}

/**
 * Reads the kernel's tables. Another program may write in between. A transaction for that generation then fails, and a caller
 * that only reads may compare it with {@link readGeneration}.
 */
export async function readKernel(connection: Connection): Promise<Kernel> {
  const generation = await readGeneration(connection);
  const tables = (await dump(connection, getTables)).map(reply => decodeTable(attributesOf(reply.payload)));
  const ours: Ruleset[] = [];
  for (const table of tables) if (table.comment === MARK) ours.push(await readTable(connection, table));
  return { generation, tables, ours };
}

/** Like {@link readKernel}, but reads again if another program wrote meanwhile. It gives up if they never pause. */
export async function readAtOnce(connection: Connection): Promise<Kernel> {
  for (let left = 10; ; left--) {
    const kernel = await readKernel(connection);
    if (left <= 1 || (await readGeneration(connection)) === kernel.generation) return kernel;
  }
}

async function readTable(connection: Connection, table: Table): Promise<Ruleset> {
  const here = (object: { readonly table: string }) => object.table === table.name;
  const rules = new Map<string, Rule[]>();
  for (const reply of await dump(connection, getRules(table.name))) {
    const rule = decodeRule(attributesOf(reply.payload));
    if (here(rule)) rules.set(rule.chain, [...(rules.get(rule.chain) ?? []), rule]);
  }
  const chains = (await dump(connection, getChains))
    .map(reply => decodeChain(attributesOf(reply.payload)))
    .filter(here);
  const sets: SetWithElements[] = [];
  for (const set of await readSets(connection, table.name))
    sets.push({
      ...set,
      elements: ownerOf(set) === 'program' ? await readElements(connection, table.name, set) : [],
    });
  return {
    table,
    counters: await readCounters(connection, table.name),
    sets,
    chains: chains.map((chain): ChainWithRules => ({ ...chain, rules: rules.get(chain.name) ?? [] })),
  };
}

/** The named counters of a table, without the rest of it. */
export async function readCounters(connection: Connection, table: string): Promise<NamedCounter[]> {
  const replies = await dump(connection, getCounters(table));
  return replies.flatMap(reply => decodeCounter(attributesOf(reply.payload)) ?? []);
}

/** The named sets of a table, without elements. */
export async function readSets(connection: Connection, table: string): Promise<NftSet[]> {
  const sets = (await dump(connection, getSets(table))).map(reply => decodeSet(attributesOf(reply.payload)));
  return sets.filter(set => set.table === table && !set.anonymous);
}

/** The elements of a set at this moment. Those of state change with every packet. */
export async function readElements(
  connection: Connection,
  table: string,
  set: Pick<NftSet, 'name' | 'interval' | 'count' | 'size'>,
): Promise<Element[]> {
  // for ranges the kernel counts halves, and a range up to the last address counts as none
  if (set.count === 0 && set.size !== undefined && !set.interval) return [];
  const replies = await dump(connection, getElements(table, set.name));
  return replies.flatMap(reply => decodeElements(attributesOf(reply.payload)));
}

/** Whether a set has an element of this key. A set that is not there has none. */
export async function hasElement(
  connection: Connection,
  table: string,
  set: NftSet,
  key: Buffer,
): Promise<boolean> {
  try {
    await connection.request(requestOf(getElement(table, set.name, key)));
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** The ruleset with the elements of its state, or of only those sets of state that `named` accepts. */
export async function withState(
  connection: Connection,
  ruleset: Ruleset,
  named: (name: string) => boolean = () => true,
): Promise<Ruleset> {
  const sets: SetWithElements[] = [];
  for (const set of ruleset.sets) {
    const read = ownerOf(set) === 'packets' && named(set.name);
    sets.push(read ? { ...set, elements: await readElements(connection, ruleset.table.name, set) } : set);
  }
  return { ...ruleset, sets };
}

/** The ruleset with its counters, and the clients that are in or knocking now. The program is not read again. */
export async function withStateNow(connection: Connection, ruleset: Ruleset): Promise<Ruleset> {
  const { name } = ruleset.table;
  const now = byName(await readSets(connection, name));
  const sets = ruleset.sets.map(set => ({ ...set, ...now.get(set.name) }));
  const current = { ...ruleset, sets, counters: await readCounters(connection, name) };
  return withState(connection, current, set => !holdsConnections(set));
}

/** A dump, for family inet by default. A table or a set that went away meanwhile gives nothing. */
export async function dump(connection: Connection, message: Message, family?: number): Promise<Reply[]> {
  try {
    return await wholeDump(connection, requestOf(message, family));
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return [];
    throw error;
  }
}
