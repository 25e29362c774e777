import { type AttributeReader, DecodeError } from '../netlink/attributes.ts';
import type { Connection, Reply } from '../netlink/connection.ts';
import { attributesOf, familyOf, NFPROTO } from '../netlink/nfnetlink.ts';
import { decodeChain, getChains } from '../nftables/chain.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import { decodeElements, getElements } from '../nftables/element.ts';
import { VERDICT } from '../nftables/register.ts';
import { decodeRule, getRules } from '../nftables/rule.ts';
import type { Element, NftSet, Rule } from '../nftables/ruleset.ts';
import { decodeSet, getSets } from '../nftables/set.ts';
import { decodeTable, getTables, TABLE_FAMILY } from '../nftables/table.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { MARK, TRACE_MARK } from '../ruleset/names.ts';
import { dump } from '../table/read.ts';
import type { ForeignChain, ForeignSet, ForeignTable } from './table.ts';

/** Larger sets are lists of strangers without ours. It matters only whether a rule looks them up. */
const MAX_ELEMENTS = 1000;
/** How often other programs may change the ruleset during the read. */
const ATTEMPTS = 10;

/** The tables of other programs that see packets to this host. They are of one generation if those programs pause. */
export async function readForeign(connection: Connection): Promise<ForeignTable[]> {
  for (let left = ATTEMPTS; ; left--) {
    const generation = await readGeneration(connection);
    const tables = await readOnce(connection);
    if (left <= 1 || (await readGeneration(connection)) === generation) return tables;
  }
}

async function readOnce(connection: Connection): Promise<ForeignTable[]> {
  const headers = understood(await dump(connection, getTables, NFPROTO.UNSPEC), (reader, payload) => ({
    number: familyOf(payload),
    ...decodeTable(reader),
  }));
  const tables: ForeignTable[] = [];
  for (const family of ['inet', 'ip', 'ip6'] as const) {
    const number = TABLE_FAMILY[family];
    const foreign = headers.filter(it => it.number === number && !isOurs(it.comment) && !it.dormant);
    if (foreign.length === 0) continue;
    const chains = understood(await dump(connection, getChains, number), decodeChain);
    for (const { name } of foreign) {
      const rules = await readRules(connection, name, number);
      tables.push({
        family,
        name,
        chains: new Map(
          chains
            .filter(({ table }) => table === name)
            .map((chain): [string, ForeignChain] => [
              chain.name,
              { ...chain, rules: rules.get(chain.name) ?? [] },
            ]),
        ),
        sets: await readSets(connection, name, number),
      });
    }
  }
  return tables;
}

function isOurs(comment: string | undefined): boolean {
  return comment === MARK || comment === TRACE_MARK;
}

/** Leaves out what we cannot decode, which later kernels may have. */
export function understood<T>(
  replies: readonly Reply[],
  decode: (reader: AttributeReader, payload: Buffer) => T,
): T[] {
  return replies.flatMap(({ payload }) => {
    try {
      return [decode(attributesOf(payload), payload)];
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return [];
    }
  });
}

/** The rules of a table by their chains. */
export async function readRules(
  connection: Connection,
  table: string,
  family: number,
): Promise<Map<string, Rule[]>> {
  const rules = new Map<string, Rule[]>();
  for (const { payload } of await dump(connection, getRules(table), family)) {
    const rule = ruleOf(payload);
    if (rule.table !== table) continue;
    const list = rules.get(rule.chain);
    if (list) list.push(rule);
    else rules.set(rule.chain, [rule]);
  }
  return rules;
}

/** The rule. If we cannot decode a part of it, we only know that it exists. */
function ruleOf(payload: Buffer): ReturnType<typeof decodeRule> {
  try {
    return decodeRule(attributesOf(payload));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const [table = '', chain = ''] = names(attributesOf(payload));
    return { table, chain, expressions: [{ kind: 'unknown', name: '', raw: Buffer.alloc(0) }] };
  }
}

/** NFTA_RULE_TABLE 1 and NFTA_RULE_CHAIN 2 */
function names(reader: AttributeReader): string[] {
  const found: string[] = [];
  while (reader.next()) if (reader.type === 1 || reader.type === 2) found[reader.type - 1] = reader.string();
  return found;
}

async function readSets(
  connection: Connection,
  table: string,
  family: number,
): Promise<Map<string, ForeignSet>> {
  const sets = new Map<string, ForeignSet>();
  for (const set of understood(await dump(connection, getSets(table), family), decodeSet)) {
    if (set.table !== table) continue;
    const wanted = set.data === VERDICT || set.anonymous || !isList(set);
    const replies = wanted ? await dump(connection, getElements(table, set.name), family) : undefined;
    sets.set(set.name, { ...set, elements: replies && elementsOf(replies) });
  }
  return sets;
}

/** Whether a set is such a list. Not every kernel says how many elements there are. */
function isList({ count, size, types }: NftSet): boolean {
  const elements = count ?? size ?? Number.POSITIVE_INFINITY;
  const isOfAddresses = types.every(type => type === DATATYPES.ipv4_addr || type === DATATYPES.ipv6_addr);
  return elements > MAX_ELEMENTS && (count !== undefined || isOfAddresses);
}

/** The elements; undefined if we cannot decode one of them. */
function elementsOf(replies: readonly Reply[]): Element[] | undefined {
  try {
    return replies.flatMap(({ payload }) => decodeElements(attributesOf(payload)));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return undefined;
  }
}
