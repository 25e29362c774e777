/**
 * nf_tables as far as transactions need it. It applies messages one by one, minds which objects refer to which, and keeps all
 * of a transaction or nothing. After net/netfilter/nf_tables_api.c.
 */

import { AttributeReader, AttributeWriter } from '../../src/netlink/attributes.ts';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import { decodeChain } from '../../src/nftables/chain.ts';
import { decodeElements, sameElement } from '../../src/nftables/element.ts';
import type { Expression } from '../../src/nftables/expression.ts';
import { NFT_MSG } from '../../src/nftables/message.ts';
import { decodeCounter } from '../../src/nftables/named-counter.ts';
import { decodeRule } from '../../src/nftables/rule.ts';
import type {
  Chain,
  Element,
  NamedCounter,
  NftSet,
  Rule,
  Ruleset,
  Table,
} from '../../src/nftables/ruleset.ts';
import { decodeSet, sameSet } from '../../src/nftables/set.ts';
import { decodeTable } from '../../src/nftables/table.ts';

/** The kernel's answer to a message: `EBUSY: chain forget`. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

interface TableState {
  readonly table: Table;
  readonly counters: Map<string, NamedCounter>;
  readonly sets: Map<string, { set: NftSet; readonly elements: Map<string, Element> }>;
  readonly chains: Map<string, { chain: Chain; readonly rules: Rule[] }>;
}

const identity = ({ key, end }: Element) => `${key.toString('hex')}${end ? ' end' : ''}`;

/** The table and the name of elements and objects, which have no decoder of their own. NFTA_*_TABLE is 1, _NAME is 2. */
function names(bytes: Buffer): readonly [table: string, name: string] {
  const reader = new AttributeReader(bytes);
  const found = ['', ''];
  while (reader.next()) if (reader.type <= 2) found[reader.type - 1] = reader.string();
  return [found[0] ?? '', found[1] ?? ''];
}

export class FakeKernel {
  #tables = new Map<string, TableState>();
  /** Whether a message may change the size of an existing set, as since Linux 6.5. Earlier kernels ignore it. */
  readonly #sizeInPlace: boolean;

  constructor({ sizeInPlace = true } = {}) {
    this.#sizeInPlace = sizeInPlace;
  }

  /** One transaction: all messages, or {@link Refused} and nothing. */
  commit(messages: readonly Message[]): void {
    const before = structuredCloneOf(this.#tables);
    try {
      for (const message of messages) this.#apply(message);
    } catch (error) {
      this.#tables = before;
      throw error;
    }
  }

  tables(): string[] {
    return [...this.#tables.keys()];
  }

  /** A table as the kernel lists it: elements of hash tables in no order, ranges from the last to the first. */
  read(name: string): Ruleset | undefined {
    const state = this.#tables.get(name);
    return (
      state && {
        table: state.table,
        counters: [...state.counters.values()],
        sets: [...state.sets.values()].map(({ set, elements }) => ({
          ...set,
          elements: [...elements.values()].toReversed(),
        })),
        chains: [...state.chains.values()].map(({ chain, rules }) => ({ ...chain, rules })),
      }
    );
  }

  /** Counts packets. */
  count(table: string, counter: string, packets: number): void {
    this.#table(table, counter).counters.set(counter, { name: counter, packets, bytes: packets * 60 });
  }

  put(table: string, set: string, element: Element): void {
    this.#table(table, set).sets.get(set)?.elements.set(identity(element), element);
  }

  #apply({ type, subject, write }: Message): void {
    const writer = new AttributeWriter();
    write(writer);
    const bytes = Buffer.from(writer.finish());
    const reader = new AttributeReader(bytes);
    const refuse = (code: string): never => {
      throw new Refused(`${code}: ${subject}`);
    };
    const APPLY: Readonly<Record<number, () => void>> = {
      [NFT_MSG.NEWTABLE]: () => {
        const table = decodeTable(reader);
        if (!this.#tables.has(table.name))
          this.#tables.set(table.name, { table, counters: new Map(), sets: new Map(), chains: new Map() });
      },
      [NFT_MSG.DELTABLE]: () => {
        if (!this.#tables.delete(decodeTable(reader).name)) refuse('ENOENT');
      },
      [NFT_MSG.NEWCHAIN]: () => {
        const { table, ...chain } = decodeChain(reader);
        const { chains } = this.#table(table, subject);
        const there = chains.get(chain.name);
        if (!there) chains.set(chain.name, { chain, rules: [] });
        else if (
          chain.hook?.name !== there.chain.hook?.name ||
          chain.hook?.priority !== there.chain.hook?.priority
        )
          refuse('EEXIST');
        else there.chain = chain;
      },
      [NFT_MSG.DELCHAIN]: () => {
        const { table, name } = decodeChain(reader);
        const state = this.#table(table, subject);
        if (!state.chains.delete(name)) refuse('ENOENT');
        if (isChainUsed(state, name)) refuse('EBUSY');
      },
      [NFT_MSG.NEWRULE]: () => {
        const { table, chain, ...rule } = decodeRule(reader);
        const state = this.#table(table, subject);
        for (const expression of rule.expressions) checkReferences(state, expression, refuse);
        (state.chains.get(chain)?.rules ?? refuse('ENOENT')).push(rule);
      },
      [NFT_MSG.DELRULE]: () => {
        const { table, chain } = decodeRule(reader);
        (this.#table(table, subject).chains.get(chain)?.rules ?? refuse('ENOENT')).length = 0;
      },
      [NFT_MSG.NEWSET]: () => {
        const { table, anonymous, ...set } = decodeSet(reader);
        const { sets } = this.#table(table, subject);
        const there = sets.get(set.name);
        if (!there) sets.set(set.name, { set, elements: new Map() });
        else if (!sameSet({ ...there.set, size: 0 }, { ...set, size: 0 })) refuse('EEXIST');
        else if (this.#sizeInPlace) there.set = set;
      },
      [NFT_MSG.DELSET]: () => {
        const { table, name } = decodeSet(reader);
        const state = this.#table(table, subject);
        if (!state.sets.delete(name)) refuse('ENOENT');
        if (rulesOf(state).some(expression => setOf(expression) === name)) refuse('EBUSY');
      },
      [NFT_MSG.NEWSETELEM]: () => {
        const [table, name] = names(bytes);
        const state = this.#table(table, subject);
        const { set, elements } = state.sets.get(name) ?? refuse('ENOENT');
        for (const element of decodeElements(reader)) {
          const there = elements.get(identity(element));
          if (there && !sameElement({ ...there, comment: '' }, { ...element, comment: '' })) refuse('EEXIST');
          if ((element.data === undefined) !== (set.data === undefined)) refuse('EINVAL');
          if (element.timeout !== undefined && !set.timeout) refuse('EINVAL');
          if (element.data && 'chain' in element.data && !state.chains.has(element.data.chain))
            refuse('ENOENT');
          if (there) continue;
          if (elements.size >= (set.size ?? Number.POSITIVE_INFINITY)) refuse('ENFILE');
          elements.set(identity(element), element);
        }
      },
      [NFT_MSG.DELSETELEM]: () => {
        const [table, name] = names(bytes);
        const { elements } = this.#table(table, subject).sets.get(name) ?? refuse('ENOENT');
        for (const element of decodeElements(reader))
          if (!elements.delete(identity(element))) refuse('ENOENT');
      },
      [NFT_MSG.NEWOBJ]: () => {
        const counter = decodeCounter(reader);
        if (!counter) return refuse('EINVAL');
        const { table, ...rest } = counter;
        const { counters } = this.#table(table, subject);
        if (!counters.has(rest.name)) counters.set(rest.name, rest);
      },
      [NFT_MSG.DELOBJ]: () => {
        const [table, name] = names(bytes);
        const state = this.#table(table, subject);
        if (!state.counters.delete(name)) refuse('ENOENT');
        if (rulesOf(state).some(it => it.kind === 'objref' && it.counter === name)) refuse('EBUSY');
      },
    };
    (APPLY[type] ?? (() => refuse('EOPNOTSUPP')))();
  }

  #table(name: string, subject: string): TableState {
    const table = this.#tables.get(name);
    if (!table) throw new Refused(`ENOENT: ${subject}`);
    return table;
  }
}

function structuredCloneOf(tables: ReadonlyMap<string, TableState>): Map<string, TableState> {
  return new Map(
    [...tables].map(([name, { table, counters, sets, chains }]) => [
      name,
      {
        table,
        counters: new Map(counters),
        sets: new Map(
          [...sets].map(([key, { set, elements }]) => [key, { set, elements: new Map(elements) }]),
        ),
        chains: new Map([...chains].map(([key, { chain, rules }]) => [key, { chain, rules: [...rules] }])),
      },
    ]),
  );
}

function rulesOf({ chains }: TableState): Expression[] {
  return [...chains.values()].flatMap(({ rules }) => rules.flatMap(({ expressions }) => expressions));
}

function setOf(expression: Expression): string | undefined {
  return expression.kind === 'lookup' || expression.kind === 'dynset' ? expression.set : undefined;
}

function chainOf(expression: Expression): string | undefined {
  return expression.kind === 'immediate' && 'verdict' in expression && 'chain' in expression.verdict
    ? expression.verdict.chain
    : undefined;
}

function isChainUsed(state: TableState, name: string): boolean {
  return (
    rulesOf(state).some(expression => chainOf(expression) === name) ||
    [...state.sets.values()].some(({ elements }) =>
      [...elements.values()].some(({ data }) => data && 'chain' in data && data.chain === name),
    )
  );
}

function checkReferences(
  { chains, counters, sets }: TableState,
  expression: Expression,
  refuse: (code: string) => never,
): void {
  const chain = chainOf(expression);
  if (chain !== undefined && !chains.has(chain)) refuse('ENOENT');
  if (expression.kind === 'objref' && !counters.has(expression.counter)) refuse('ENOENT');
  const name = setOf(expression);
  if (name === undefined) return;
  const { set } = sets.get(name) ?? refuse('ENOENT');
  if (expression.kind === 'lookup' && expression.dreg !== undefined && set.data === undefined)
    refuse('EINVAL');
  if (expression.kind === 'dynset' && expression.timeout !== undefined && !set.timeout) refuse('EOPNOTSUPP');
  if (expression.kind === 'dynset' && (expression.data === undefined) !== (set.data === undefined))
    refuse('EINVAL');
}
