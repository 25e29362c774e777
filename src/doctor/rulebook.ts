import type { Connection } from '../netlink/connection.ts';
import { attributesOf, familyOf, NFPROTO } from '../netlink/nfnetlink.ts';
import { keyText } from '../nftables/datatype.ts';
import { decodeElements, elementText, getElements } from '../nftables/element.ts';
import { keyBefore } from '../nftables/interval.ts';
import { decodeHandle, decodeRule, getRules } from '../nftables/rule.ts';
import type { Element, NftSet, Rule } from '../nftables/ruleset.ts';
import { decodeSet, getSets } from '../nftables/set.ts';
import { decodeTable, getTables, TABLE_FAMILY } from '../nftables/table.ts';
import { ruleText } from '../nftables/text.ts';
import type { Trace } from '../nftables/trace.ts';
import { MARK } from '../ruleset/names.ts';
import { dump } from '../table/read.ts';

/** A rule that a trace refers to. */
interface Named {
  /** The rule as nft prints it. `# NAME` stands for a part that we do not understand. */
  readonly text: string;
  readonly rejects: boolean;
}

/** How many elements of an anonymous set to print. */
const MOST = 8;
const FAMILY_WORDS = new Map<number, string>(
  Object.entries(TABLE_FAMILY).map(([word, number]) => [number, word]),
);

/** Rules by their handles from the kernel. A table is read when its first rule is asked for. */
export class Rulebook {
  readonly #connection: Connection;
  readonly #tables = new Map<string, ReadonlyMap<bigint, Named>>();
  #ours: ReadonlySet<string> | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The rule; undefined if it is gone. */
  async find({ family, table }: Trace, handle: bigint): Promise<Named | undefined> {
    const key = `${family} ${table}`;
    const known = this.#tables.get(key)?.get(handle);
    if (known) return known;
    // other programs may change their rules meanwhile
    const rules = await readRules(this.#connection, table, family);
    this.#tables.set(key, rules);
    return rules.get(handle);
  }

  /** Whether it is a table of knockd-nft. */
  async isOurs({ family, table }: Trace): Promise<boolean> {
    this.#ours ??= new Set(
      (await dump(this.#connection, getTables))
        .map(({ payload }) => decodeTable(attributesOf(payload)))
        .filter(({ comment }) => comment === MARK)
        .map(({ name }) => name),
    );
    return family === NFPROTO.INET && this.#ours.has(table);
  }
}

/** `inet filter`, as nft names it. */
export function traceTable({ family, table }: Trace): string {
  return `${FAMILY_WORDS.get(family) ?? `family ${family}`} ${table}`;
}

async function readRules(
  connection: Connection,
  table: string,
  family: number,
): Promise<ReadonlyMap<bigint, Named>> {
  const sets = new Map<string, NftSet>();
  const elements = new Map<string, readonly Element[]>();
  for (const { payload } of await dump(connection, getSets(table), family)) {
    const set = decodeSet(attributesOf(payload));
    if (set.table !== table) continue;
    sets.set(set.name, set);
    if (!set.anonymous) continue;
    const replies = await dump(connection, getElements(table, set.name), family);
    elements.set(
      set.name,
      replies.flatMap(reply => decodeElements(attributesOf(reply.payload))),
    );
  }
  const rules = new Map<bigint, Named>();
  for (const { payload } of await dump(connection, getRules(table), family)) {
    const handle = decodeHandle(attributesOf(payload));
    if (familyOf(payload) !== family || handle === undefined) continue;
    const rule = decodeRule(attributesOf(payload));
    if (rule.table !== table) continue;
    const text = ruleText(rule, sets).replace(/@(__(?:set|map)\d+)/g, (written, name: string) => {
      const set = sets.get(name);
      return set && set.types.length > 0 ? setWords(set, elements.get(name) ?? []) : written;
    });
    rules.set(handle, { text, rejects: rule.expressions.some(isReject) });
  }
  return rules;
}

/** Whether an expression rejects: nf_tables' own, and the target of iptables. */
function isReject(expression: Rule['expressions'][number]): boolean {
  if (expression.kind !== 'unknown') return expression.kind === 'reject';
  return (
    expression.name === 'reject' || (expression.name === 'target' && expression.raw.includes('REJECT\0'))
  );
}

/** `{ 22, 80-90 }` */
function setWords(set: NftSet, elements: readonly Element[]): string {
  const words =
    set.interval && !elements.some(({ last }) => last)
      ? ranges(set, elements)
      : elements.map(it => elementText(set, it));
  const shown = words.length > MOST ? [...words.slice(0, MOST), '…'] : words;
  return `{ ${shown.join(', ')} }`;
}

/** The kernel keeps the start of each range, and the first key after it. */
function ranges(set: NftSet, elements: readonly Element[]): string[] {
  const sorted = elements.toSorted((a, b) => Buffer.compare(a.key, b.key));
  return sorted.flatMap((element, index) => {
    if (element.end) return [];
    const next = sorted.slice(index + 1).find(({ key }) => !key.equals(element.key));
    const last = next ? keyBefore(next.key) : Buffer.alloc(element.key.length, 0xff);
    const text = elementText(set, element);
    const to = last.equals(element.key) ? '' : `-${keyText(set.types, last)}`;
    const key = keyText(set.types, element.key);
    return [`${key}${to}${text.slice(key.length)}`];
  });
}
