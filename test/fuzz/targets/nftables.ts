/** Objects of nf_tables: read, or refused as not the kernel's; what is read comes back the same, and has a text and a fate. */

import { pass } from '../../../src/firewalls/journey.ts';
import { arriving } from '../../../src/firewalls/packet.ts';
import { AttributeReader, DecodeError } from '../../../src/netlink/attributes.ts';
import type { Message } from '../../../src/netlink/nfnetlink.ts';
import { decodeChain, newChain } from '../../../src/nftables/chain.ts';
import { decodeElements, elementText, newElements } from '../../../src/nftables/element.ts';
import { decodeFlowtable } from '../../../src/nftables/flowtable.ts';
import { decodeCounter, newCounter } from '../../../src/nftables/named-counter.ts';
import { register } from '../../../src/nftables/register.ts';
import { decodeHandle, decodeRule, newRule, sameRule } from '../../../src/nftables/rule.ts';
import { decodeSet, newSet, setText } from '../../../src/nftables/set.ts';
import { decodeTable, newTable } from '../../../src/nftables/table.ts';
import { ruleText } from '../../../src/nftables/text.ts';
import { attributesOf, STEPS } from '../../nftables/message.ts';

/** By the first byte of an input. */
const DECODERS: readonly ((reader: AttributeReader) => unknown)[] = [
  decodeTable,
  decodeChain,
  rule,
  reader => setText(decodeSet(reader)),
  reader => decodeElements(reader).map(element => elementText(STEPS, element)),
  decodeCounter,
  decodeFlowtable,
  decodeHandle,
];

const PACKETS = (['ipv4', 'ipv6'] as const).map(family =>
  arriving({ family, protocol: 'tcp', port: 22 }, { name: 'eth0', index: 2, addresses: {} }),
);

function rule(reader: AttributeReader): void {
  const read = decodeRule(reader);
  const writtenAndRead = (it: typeof read) =>
    decodeRule(new AttributeReader(attributesOf(newRule(it.table, it.chain, it, 1))));
  const again = writtenAndRead(read); // the first writing adds empty data, which the kernel always sends
  if (!sameRule(again, writtenAndRead(again))) throw new Error('the rule that was written is another one');
  ruleText(read, new Map());
  const chain = { name: 'c', rules: [read], hook: { name: 'input', priority: 0, policy: 'accept' } } as const;
  const table = { family: 'inet', name: 't', chains: new Map([['c', chain]]), sets: new Map() } as const;
  for (const packet of PACKETS) pass([table], 'input', packet);
}

const key = Buffer.from('010000000600000009290000', 'hex');
const seed = (decoder: number, message: Message) =>
  Buffer.concat([Buffer.from([decoder]), attributesOf(message)]);
export const seeds = [
  seed(0, newTable({ name: 't', comment: 'knockd-nft' })),
  seed(1, newChain('t', { name: 'c', hook: { name: 'input', priority: -10, policy: 'drop' } })),
  seed(3, newSet('t', STEPS)),
  ...newElements('t', STEPS, [{ key, data: Buffer.from('02000000', 'hex'), timeout: 5, comment: 'x' }]).map(
    it => seed(4, it),
  ),
  ...newElements('t', STEPS, [{ key, data: { code: 'goto', chain: 'c' } }]).map(it => seed(4, it)),
  seed(5, newCounter('t', { name: 'c', packets: 1, bytes: 2 })),
  seed(
    2,
    newRule(
      't',
      'c',
      {
        expressions: [
          { kind: 'meta', key: 'l4proto', dreg: register(0) },
          { kind: 'cmp', sreg: register(0), op: 'eq', value: Buffer.from([6]) },
          { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(0) },
          { kind: 'lookup', set: 'ports', sreg: register(0), dreg: 'verdict' },
          { kind: 'dynset', op: 'update', set: 's', key: register(0), timeout: 5000 },
          { kind: 'limit', rate: 1, unit: 'second', burst: 5 },
          { kind: 'log', prefix: 'p', group: 22 },
          { kind: 'ct', key: 'state', dreg: register(0) },
          { kind: 'bitwise', sreg: register(0), dreg: register(0), mask: Buffer.from([6, 0, 0, 0]) },
          { kind: 'unknown', name: 'match', raw: Buffer.alloc(8) },
          { kind: 'immediate', verdict: { code: 'jump', chain: 'c' } },
          { kind: 'reject', with: 'tcp reset' },
        ],
        comment: 'x',
      },
      1,
    ),
  ),
];

export function fuzz(data: Buffer): void {
  const decode = DECODERS[(data[0] ?? 0) % DECODERS.length];
  try {
    decode?.(new AttributeReader(data.subarray(1)));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}
