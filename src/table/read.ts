import { setTimeout } from 'node:timers/promises';
import { type Connection, type Reply, wholeDump } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { attributesOf, type Message, requestOf } from '../netlink/nfnetlink.ts';
import { decodeChain, getChains } from '../nftables/chain.ts';
import { decodeElements, getElement, getElements } from '../nftables/element.ts';
import { decodeCounter, getCounters } from '../nftables/named-counter.ts';
import { decodeRule, getRules, sameRule } from '../nftables/rule.ts';
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
import { decompile, remember } from '../ruleset/program.ts';

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
  const tables = await readTables(connection);
  const ours: Ruleset[] = [];
  for (const table of tables) if (table.comment === MARK) ours.push(await readTable(connection, table));
  return { generation, tables, ours };
}

/** A ruleset of ours, and the kernel's generation while it is there as this very program loaded it. */
interface Former {
  readonly generation: number;
  readonly ruleset: () => Ruleset;
}

/**
 * Like {@link readKernel}, but our table is not read. While the generation is that of the former load, the program in the kernel is
 * what that load made: packets change only state. Only the base chains are compared with the kernel's, since the first rule says which
 * configuration the table is of. Undefined if the table has to be read. Counters have no values, and sets no count.
 */
export async function recallKernel(
  connection: Connection,
  { generation, ruleset: compiled }: Former,
): Promise<Kernel | undefined> {
  if ((await readGeneration(connection)) !== generation) return undefined;
  const ruleset = compiled();
  const tables = await readTables(connection);
  const [ours, ...others] = tables.filter(({ comment }) => comment === MARK);
  if (others.length > 0 || ours?.name !== ruleset.table.name || ours.dormant || ours.owner) return undefined;
  for (const { name, hook, rules } of ruleset.chains) {
    if (!hook) continue;
    const there = await dump(connection, getRules(ours.name, name));
    const isSame = (rule: Rule, index: number) => {
      const reply = there[index];
      return reply !== undefined && sameRule(decodeRule(attributesOf(reply.payload)), rule);
    };
    if (there.length !== rules.length || !rules.every(isSame)) return undefined;
  }
  const there = { ...ruleset, table: ours }; // with its handle
  remember(there, () => decompile(ruleset));
  return { generation, tables, ours: [there] };
}

async function readTables(connection: Connection): Promise<Table[]> {
  return (await dump(connection, getTables)).map(reply => decodeTable(attributesOf(reply.payload)));
}

/** Whether there is a table with our mark. */
export async function hasOurs(connection: Connection): Promise<boolean> {
  return (await readTables(connection)).some(({ comment }) => comment === MARK);
}

/** The handle of our table of that name, which no later table of that name has; undefined if there is none. */
export async function handleOf(connection: Connection, name: string): Promise<string | undefined> {
  const tables = await readTables(connection);
  return tables.find(table => table.name === name && table.comment === MARK)?.handle?.toString();
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
  for (let left = READINGS; ; left--) {
    const replies = await dump(connection, getElements(table, set.name));
    const elements = replies.flatMap(reply => decodeElements(attributesOf(reply.payload)));
    if (set.interval || left <= 1 || isWhole(elements, replies.length)) return elements;
    await setTimeout(PAUSE);
  }
}

/** How often to read a set that grows, and the pause in between, in milliseconds. */
const READINGS = 100;
const PAUSE = 10;

/**
 * The kernel gives a large set in several parts, and remembers how many elements came before each. When it moves the elements to a
 * larger table meanwhile, as it does a moment after many were added, they stand in another order: some come twice, and as many
 * not at all.
 */
function isWhole(elements: readonly Element[], parts: number): boolean {
  return parts <= 1 || new Set(elements.map(({ key }) => key.toString('latin1'))).size === elements.length;
}

/** The element of this key; undefined if the set has none, or is not there. */
export async function readElement(
  connection: Connection,
  table: string,
  set: string,
  key: Buffer,
): Promise<Element | undefined> {
  try {
    const { payload } = await connection.request(requestOf(getElement(table, set, key)));
    return decodeElements(attributesOf(payload))[0];
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return undefined;
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
    const read = named(set.name) && ownerOf(set) === 'packets';
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
