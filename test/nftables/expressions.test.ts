/**
 * The bytes that our encoders write, beside those that nft 1.0.6 sends for the same words. Taken from
 * `unshare -nm nft --debug=mnl -f FILE`, whose rows were put together again; each rule stood in
 *
 *     table inet t {
 *       counter hits { }
 *       chain c2 { }
 *       map started { type ipv4_addr : mark; size 65535; flags dynamic,timeout; }
 *       set clients { type ipv4_addr; size 65535; flags dynamic,timeout; }
 *       set clients6 { type ipv6_addr; size 65535; flags dynamic,timeout; }
 *       set sessions { type ipv4_addr . inet_service . inet_service; flags timeout; }
 *       set sessions6 { type ipv6_addr . inet_service . inet_service; flags timeout; }
 *       set connections { type ipv4_addr . inet_service . inet_service; size 65535; flags dynamic,timeout; }
 *       set allowed { type ipv4_addr; flags interval; }
 *       map steps { type mark . inet_proto . inet_service : mark; }
 *       map arrivals { type mark : verdict; }
 *       map ports { type inet_proto . inet_service : verdict; }
 *       chain c { type filter hook input priority 0; RULE }
 *     }
 */

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { AttributeReader, AttributeWriter } from '../../src/netlink/attributes.ts';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import { decodeChain, deleteChain, newChain } from '../../src/nftables/chain.ts';
import { DATATYPES } from '../../src/nftables/datatype.ts';
import { decodeElements, deleteElements, newElements } from '../../src/nftables/element.ts';
import { readExpressions, writeExpressions } from '../../src/nftables/expression.ts';
import { prefixElements } from '../../src/nftables/interval.ts';
import { decodeCounter, deleteCounter, newCounter } from '../../src/nftables/named-counter.ts';
import { KEY, register, VERDICT } from '../../src/nftables/register.ts';
import { decodeRule, flushChain, newRule, sameRule } from '../../src/nftables/rule.ts';
import type { NftSet, Rule } from '../../src/nftables/ruleset.ts';
import { decodeSet, deleteSet, newSet } from '../../src/nftables/set.ts';
import { decodeTable, deleteTable, newTable } from '../../src/nftables/table.ts';
import { ruleText } from '../../src/nftables/text.ts';
import { expression } from './arbitrary.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

/** Where our bytes differ from nft's on purpose. The kernel makes the same of both. */
const SET_ID = 'nft also gives the number that a set has within the batch; ours finds all sets by their name';
const OPERATION =
  'nft leaves the operation out where it makes the mask itself (ct state, prefixes); 0 is the default';
const LEVEL = 'nft gives a level of 0, which only sockets of cgroups have';
const NUL = 'our strings end in NUL everywhere';
const ORDER = 'ours has the attributes in the order of their numbers';
const FORMAT =
  'nft also keeps the format of concatenations, and that data are no ranges, in the userdata of sets';

interface Difference {
  readonly nft: string;
  readonly ours: string;
  readonly because: string;
}

interface Case {
  readonly nft: string;
  /** Our words, where they are others with the same meaning. */
  readonly words?: string;
  readonly expressions: Rule['expressions'];
  /** One for each expression. */
  readonly bytes: readonly (string | Difference)[];
}

const set = (name: string, more: Partial<NftSet>): [string, NftSet] => [
  name,
  { name, types: [], dynamic: false, timeout: false, interval: false, ...more },
];
const { ipv4_addr, ipv6_addr, mark, inet_proto, inet_service } = DATATYPES;
const SETS = new Map([
  set('started', { types: [ipv4_addr], data: mark }),
  set('clients', { types: [ipv4_addr] }),
  set('clients6', { types: [ipv6_addr] }),
  set('sessions', { types: [ipv4_addr, inet_service, inet_service] }),
  set('connections', { types: [ipv4_addr, inet_service, inet_service] }),
  set('sessions6', { types: [ipv6_addr, inet_service, inet_service] }),
  set('allowed', { types: [ipv4_addr] }),
  set('steps', { types: [mark, inet_proto, inet_service], data: mark }),
  set('arrivals', { types: [mark], data: VERDICT }),
  set('ports', { types: [inet_proto, inet_service], data: VERDICT }),
]);

const CASES: readonly Case[] = [
  {
    nft: 'accept',
    expressions: [{ kind: 'immediate', verdict: { code: 'accept' } }],
    bytes: [
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001',
    ],
  },
  {
    nft: 'drop',
    expressions: [{ kind: 'immediate', verdict: { code: 'drop' } }],
    bytes: [
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000',
    ],
  },
  {
    nft: 'return',
    expressions: [{ kind: 'immediate', verdict: { code: 'return' } }],
    bytes: [
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c00028008000100fffffffb',
    ],
  },
  {
    nft: 'continue',
    expressions: [{ kind: 'immediate', verdict: { code: 'continue' } }],
    bytes: [
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c00028008000100ffffffff',
    ],
  },
  {
    nft: 'jump c2',
    expressions: [{ kind: 'immediate', verdict: { code: 'jump', chain: 'c2' } }],
    bytes: [
      '380001800e000100696d6d656469617465000000240002800800010000000000180002801400028008000100fffffffd0700020063320000',
    ],
  },
  {
    nft: 'goto c2',
    expressions: [{ kind: 'immediate', verdict: { code: 'goto', chain: 'c2' } }],
    bytes: [
      '380001800e000100696d6d656469617465000000240002800800010000000000180002801400028008000100fffffffc0700020063320000',
    ],
  },
  {
    nft: 'ct state established',
    expressions: [
      { kind: 'ct', key: 'state', dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('02000000') },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('00000000') },
    ],
    bytes: [
      '2000018007000100637400001400028008000200000000000800010000000001',
      {
        nft: '440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c00048008000100020000000c0005800800010000000000',
        ours: '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000040c00048008000100020000000c0005800800010000000000',
        because: OPERATION,
      },
      '2c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000',
    ],
  },
  {
    nft: 'ct state invalid return',
    expressions: [
      { kind: 'ct', key: 'state', dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('01000000') },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('00000000') },
      { kind: 'immediate', verdict: { code: 'return' } },
    ],
    bytes: [
      '2000018007000100637400001400028008000200000000000800010000000001',
      {
        nft: '440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c00048008000100010000000c0005800800010000000000',
        ours: '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000040c00048008000100010000000c0005800800010000000000',
        because: OPERATION,
      },
      '2c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000',
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c00028008000100fffffffb',
    ],
  },
  {
    nft: 'ct status confirmed accept',
    expressions: [
      { kind: 'ct', key: 'status', dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('08000000') },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('00000000') },
      { kind: 'immediate', verdict: { code: 'accept' } },
    ],
    bytes: [
      '2000018007000100637400001400028008000200000000020800010000000001',
      {
        nft: '440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c00048008000100080000000c0005800800010000000000',
        ours: '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000040c00048008000100080000000c0005800800010000000000',
        because: OPERATION,
      },
      '2c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000',
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001',
    ],
  },
  {
    nft: 'meta nfproto ipv4',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
    ],
  },
  {
    nft: 'meta l4proto udp',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('11') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010011000000',
    ],
  },
  {
    nft: 'iif "lo"',
    expressions: [
      { kind: 'meta', key: 'iif', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('01000000') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000040800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800800010001000000',
    ],
  },
  {
    nft: 'iifname "eth0"',
    expressions: [
      { kind: 'meta', key: 'iifname', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('65746830000000000000000000000000') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000060800010000000001',
      '3800018008000100636d70002c00028008000100000000010800020000000000180003801400010065746830000000000000000000000000',
    ],
  },
  {
    nft: 'iifname "wg*"',
    expressions: [
      { kind: 'meta', key: 'iifname', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('7767') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000060800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800600010077670000',
    ],
  },
  {
    nft: 'ip saddr 192.0.2.7',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('c0000207') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      '2c00018008000100636d700020000280080001000000000108000200000000000c00038008000100c0000207',
    ],
  },
  {
    nft: 'th dport > 1023',
    expressions: [
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'gt', value: hex('03ff') },
    ],
    bytes: [
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000208000300000000020800040000000002',
      '2c00018008000100636d700020000280080001000000000108000200000000040c0003800600010003ff0000',
    ],
  },
  {
    nft: 'ip saddr @allowed',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'lookup', set: 'allowed', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      {
        nft: '300001800b0001006c6f6f6b757000002000028008000200000000010c000100616c6c6f776564000800040000000006',
        ours: '280001800b0001006c6f6f6b757000001800028008000200000000010c000100616c6c6f77656400',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'ip saddr & 255.255.255.0 @allowed',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('ffffff00') },
      { kind: 'lookup', set: 'allowed', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000040c00048008000100ffffff000c0005800800010000000000',
      {
        nft: '300001800b0001006c6f6f6b757000002000028008000200000000010c000100616c6c6f776564000800040000000006',
        ours: '280001800b0001006c6f6f6b757000001800028008000200000000010c000100616c6c6f77656400',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'ip6 saddr & ffff:ffff:ffff:ffff:: @clients6',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('0a') },
      { kind: 'payload', base: 'network', offset: 8, length: 16, dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('ffffffffffffffff0000000000000000') },
      { kind: 'lookup', set: 'clients6', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000080800040000000010',
      '640001800c00010062697477697365005400028008000100000000010800020000000001080006000000000008000300000000101800048014000100ffffffffffffffff0000000000000000180005801400010000000000000000000000000000000000',
      {
        nft: '340001800b0001006c6f6f6b757000002400028008000200000000010d000100636c69656e747336000000000800040000000003',
        ours: '2c0001800b0001006c6f6f6b757000001c00028008000200000000010d000100636c69656e74733600000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'ip6 saddr fe80::/10',
    words: 'ip6 saddr & ffc0:: == fe80::',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('0a') },
      { kind: 'payload', base: 'network', offset: 8, length: 16, dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('ffc00000000000000000000000000000') },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('fe800000000000000000000000000000') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000080800040000000010',
      {
        nft: '5c0001800c00010062697477697365004c0002800800010000000001080002000000000108000300000000101800048014000100ffc00000000000000000000000000000180005801400010000000000000000000000000000000000',
        ours: '640001800c00010062697477697365005400028008000100000000010800020000000001080006000000000008000300000000101800048014000100ffc00000000000000000000000000000180005801400010000000000000000000000000000000000',
        because: OPERATION,
      },
      '3800018008000100636d70002c000280080001000000000108000200000000001800038014000100fe800000000000000000000000000000',
    ],
  },
  {
    nft: 'ip6 hoplimit 255',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('0a') },
      { kind: 'payload', base: 'network', offset: 7, length: 1, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('ff') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000070800040000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c00038005000100ff000000',
    ],
  },
  {
    nft: 'icmp type echo-request',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('01') },
      { kind: 'payload', base: 'transport', offset: 0, length: 1, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('08') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010001000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000208000300000000000800040000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010008000000',
    ],
  },
  {
    nft: 'icmpv6 type nd-neighbor-solicit',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('0a') },
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('3a') },
      { kind: 'payload', base: 'transport', offset: 0, length: 1, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('87') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000',
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001003a000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000208000300000000000800040000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010087000000',
    ],
  },
  {
    nft: 'tcp flags & (fin | syn | rst | ack) != syn',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'payload', base: 'transport', offset: 13, length: 1, dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('17') },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('02') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000002080003000000000d0800040000000001',
      '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000010c00048005000100170000000c0005800500010000000000',
      '2c00018008000100636d700020000280080001000000000108000200000000010c0003800500010002000000',
    ],
  },
  {
    nft: 'tcp flags & (syn | ack) == syn',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'payload', base: 'transport', offset: 13, length: 1, dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('12') },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000002080003000000000d0800040000000001',
      '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000010c00048005000100120000000c0005800500010000000000',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
    ],
  },
  {
    nft: 'ct direction reply',
    expressions: [
      { kind: 'ct', key: 'direction', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('01') },
    ],
    bytes: [
      '2000018007000100637400001400028008000200000000010800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010001000000',
    ],
  },
  {
    nft: 'ct status & (assured | confirmed) == confirmed',
    expressions: [
      { kind: 'ct', key: 'status', dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('0c000000') },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('08000000') },
    ],
    bytes: [
      '2000018007000100637400001400028008000200000000020800010000000001',
      '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000040c000480080001000c0000000c0005800800010000000000',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800800010008000000',
    ],
  },
  {
    nft: 'meta l4proto tcp meta skuid != 4294967295',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'meta', key: 'skuid', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('ffffffff') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '24000180090001006d6574610000000014000280080002000000000a0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000010c00038008000100ffffffff',
    ],
  },
  {
    nft: 'update @connections { ip saddr . tcp sport . tcp dport timeout 75s }',
    words: 'update @connections { ip saddr . tcp sport . tcp dport timeout 1m15s }',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'payload', base: 'transport', offset: 0, length: 2, dreg: register(1) },
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(2) },
      { kind: 'dynset', op: 'update', set: 'connections', key: KEY, timeout: 75_000 },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      '340001800c0001007061796c6f616400240002800800010000000009080002000000000208000300000000000800040000000002',
      '340001800c0001007061796c6f61640024000280080001000000000a080002000000000208000300000000020800040000000002',
      {
        nft: '480001800b00010064796e736574000038000280080004000000000108000300000000010c00060000000000000124f810000100636f6e6e656374696f6e73000800020000000001',
        ours: '400001800b00010064796e736574000030000280080004000000000108000300000000010c00060000000000000124f810000100636f6e6e656374696f6e7300',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'ip saddr 169.254.0.0/16',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 2, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('a9fe') },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000002',
      '2c00018008000100636d700020000280080001000000000108000200000000000c00038006000100a9fe0000',
    ],
  },
  {
    nft: 'tcp flags & (fin | syn | rst) == 0x0',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'payload', base: 'transport', offset: 13, length: 1, dreg: KEY },
      { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: hex('07') },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('00') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000002080003000000000d0800040000000001',
      '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000010c00048005000100070000000c0005800500010000000000',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010000000000',
    ],
  },
  {
    nft: 'meta mark != 0x00000000',
    expressions: [
      { kind: 'meta', key: 'mark', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('00000000') },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000030800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000',
    ],
  },
  {
    nft: 'ip saddr != @clients return',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'lookup', set: 'clients', sreg: KEY, inverted: true },
      { kind: 'immediate', verdict: { code: 'return' } },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      {
        nft: '380001800b0001006c6f6f6b757000002800028008000200000000010c000100636c69656e74730008000400000000010800050000000001',
        ours: '300001800b0001006c6f6f6b757000002000028008000200000000010c000100636c69656e7473000800050000000001',
        because: SET_ID,
      },
      '300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c00028008000100fffffffb',
    ],
  },
  {
    nft: 'fib daddr type != local',
    expressions: [
      { kind: 'fib', result: 'daddr type', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('02000000') },
    ],
    bytes: [
      '2800018008000100666962001c000280080003000000000208000200000000030800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000010c0003800800010002000000',
    ],
  },
  {
    nft: 'socket wildcard <= 1',
    expressions: [
      { kind: 'socket', key: 'wildcard', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'lte', value: hex('01') },
    ],
    bytes: [
      {
        nft: '2c0001800b000100736f636b657400001c000280080001000000000208000200000000010800030000000000',
        ours: '240001800b000100736f636b657400001400028008000100000000020800020000000001',
        because: LEVEL,
      },
      '2c00018008000100636d700020000280080001000000000108000200000000030c0003800500010001000000',
    ],
  },
  {
    nft: 'ip saddr . tcp sport . tcp dport @sessions',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'payload', base: 'transport', offset: 0, length: 2, dreg: register(1) },
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(2) },
      { kind: 'lookup', set: 'sessions', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      '340001800c0001007061796c6f616400240002800800010000000009080002000000000208000300000000000800040000000002',
      '340001800c0001007061796c6f61640024000280080001000000000a080002000000000208000300000000020800040000000002',
      {
        nft: '340001800b0001006c6f6f6b757000002400028008000200000000010d00010073657373696f6e73000000000800040000000004',
        ours: '2c0001800b0001006c6f6f6b757000001c00028008000200000000010d00010073657373696f6e7300000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'ip6 saddr . tcp sport . tcp dport @sessions6',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('0a') },
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'payload', base: 'network', offset: 8, length: 16, dreg: KEY },
      { kind: 'payload', base: 'transport', offset: 0, length: 2, dreg: register(4) },
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(5) },
      { kind: 'lookup', set: 'sessions6', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000',
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000080800040000000010',
      '340001800c0001007061796c6f616400240002800800010000000002080002000000000208000300000000000800040000000002',
      '340001800c0001007061796c6f61640024000280080001000000000d080002000000000208000300000000020800040000000002',
      {
        nft: '340001800b0001006c6f6f6b757000002400028008000200000000010e00010073657373696f6e73360000000800040000000005',
        ours: '2c0001800b0001006c6f6f6b757000001c00028008000200000000010e00010073657373696f6e7336000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'meta l4proto . th dport vmap @ports',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(1) },
      { kind: 'lookup', set: 'ports', sreg: KEY, dreg: VERDICT },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '340001800c0001007061796c6f616400240002800800010000000009080002000000000208000300000000020800040000000002',
      {
        nft: '380001800b0001006c6f6f6b7570000028000280080002000000000108000300000000000a000100706f7274730000000800040000000009',
        ours: '300001800b0001006c6f6f6b7570000020000280080002000000000108000300000000000a000100706f727473000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'meta mark set 0',
    words: 'meta mark set 0x00000000',
    expressions: [
      { kind: 'immediate', dreg: KEY, value: hex('00000000') },
      { kind: 'meta', key: 'mark', sreg: KEY },
    ],
    bytes: [
      '2c0001800e000100696d6d6564696174650000001800028008000100000000010c0002800800010000000000',
      '24000180090001006d657461000000001400028008000200000000030800030000000001',
    ],
  },
  {
    nft: 'meta mark set 0x01020304',
    expressions: [
      { kind: 'immediate', dreg: KEY, value: hex('04030201') },
      { kind: 'meta', key: 'mark', sreg: KEY },
    ],
    bytes: [
      '2c0001800e000100696d6d6564696174650000001800028008000100000000010c0002800800010004030201',
      '24000180090001006d657461000000001400028008000200000000030800030000000001',
    ],
  },
  {
    nft: 'meta mark set ip saddr map @started',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'lookup', set: 'started', sreg: KEY, dreg: KEY },
      { kind: 'meta', key: 'mark', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      {
        nft: '380001800b0001006c6f6f6b7570000028000280080002000000000108000300000000010c00010073746172746564000800040000000001',
        ours: '300001800b0001006c6f6f6b7570000020000280080002000000000108000300000000010c0001007374617274656400',
        because: SET_ID,
      },
      '24000180090001006d657461000000001400028008000200000000030800030000000001',
    ],
  },
  {
    nft: 'meta mark set meta mark . meta l4proto . th dport map @steps',
    expressions: [
      { kind: 'meta', key: 'mark', dreg: KEY },
      { kind: 'meta', key: 'l4proto', dreg: register(1) },
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(2) },
      { kind: 'lookup', set: 'steps', sreg: KEY, dreg: KEY },
      { kind: 'meta', key: 'mark', sreg: KEY },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000030800010000000001',
      '24000180090001006d657461000000001400028008000200000000100800010000000009',
      '340001800c0001007061796c6f61640024000280080001000000000a080002000000000208000300000000020800040000000002',
      {
        nft: '380001800b0001006c6f6f6b7570000028000280080002000000000108000300000000010a00010073746570730000000800040000000007',
        ours: '300001800b0001006c6f6f6b7570000020000280080002000000000108000300000000010a0001007374657073000000',
        because: SET_ID,
      },
      '24000180090001006d657461000000001400028008000200000000030800030000000001',
    ],
  },
  {
    nft: 'meta mark vmap @arrivals',
    expressions: [
      { kind: 'meta', key: 'mark', dreg: KEY },
      { kind: 'lookup', set: 'arrivals', sreg: KEY, dreg: VERDICT },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000030800010000000001',
      {
        nft: '3c0001800b0001006c6f6f6b757000002c000280080002000000000108000300000000000d0001006172726976616c73000000000800040000000008',
        ours: '340001800b0001006c6f6f6b7570000024000280080002000000000108000300000000000d0001006172726976616c7300000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'add @started { ip saddr timeout 5s : meta mark }',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'meta', key: 'mark', dreg: register(4) },
      { kind: 'dynset', op: 'add', set: 'started', key: KEY, data: register(4), timeout: 5000 },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      '24000180090001006d657461000000001400028008000200000000030800010000000002',
      {
        nft: '4c0001800b00010064796e73657400003c0002800800040000000001080005000000000208000300000000000c00060000000000000013880c00010073746172746564000800020000000001',
        ours: '440001800b00010064796e7365740000340002800800040000000001080005000000000208000300000000000c00060000000000000013880c0001007374617274656400',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'delete @started { ip saddr : meta mark }',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'meta', key: 'mark', dreg: register(4) },
      { kind: 'dynset', op: 'delete', set: 'started', key: KEY, data: register(4) },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      '24000180090001006d657461000000001400028008000200000000030800010000000002',
      {
        nft: '400001800b00010064796e7365740000300002800800040000000001080005000000000208000300000000020c00010073746172746564000800020000000001',
        ours: '380001800b00010064796e7365740000280002800800040000000001080005000000000208000300000000020c0001007374617274656400',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'update @clients { ip saddr timeout 10s }',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      { kind: 'dynset', op: 'update', set: 'clients', key: KEY, timeout: 10000 },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      {
        nft: '440001800b00010064796e736574000034000280080004000000000108000300000000010c00060000000000000027100c000100636c69656e7473000800020000000002',
        ours: '3c0001800b00010064796e73657400002c000280080004000000000108000300000000010c00060000000000000027100c000100636c69656e747300',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'delete @clients6 { ip6 saddr }',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('0a') },
      { kind: 'payload', base: 'network', offset: 8, length: 16, dreg: KEY },
      { kind: 'dynset', op: 'delete', set: 'clients6', key: KEY },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000',
      '340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300000000080800040000000010',
      {
        nft: '3c0001800b00010064796e73657400002c000280080004000000000108000300000000020d000100636c69656e747336000000000800020000000003',
        ours: '340001800b00010064796e736574000024000280080004000000000108000300000000020d000100636c69656e74733600000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'update @clients { ip saddr timeout 5s limit rate 20/second burst 250 packets }',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
      { kind: 'payload', base: 'network', offset: 12, length: 4, dreg: KEY },
      {
        kind: 'dynset',
        op: 'update',
        set: 'clients',
        key: KEY,
        timeout: 5000,
        limit: { kind: 'limit', rate: 20, unit: 'second', burst: 250 },
      },
    ],
    bytes: [
      '24000180090001006d6574610000000014000280080002000000000f0800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000',
      '340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004',
      {
        nft: '880001800b00010064796e736574000078000280080004000000000108000300000000010c00060000000000000013880c000100636c69656e7473000800020000000002440007800a0001006c696d6974000000340002800c00010000000000000000140c000200000000000000000108000300000000fa08000400000000000800050000000000',
        ours: '800001800b00010064796e736574000070000280080004000000000108000300000000010c00060000000000000013880c000100636c69656e747300440007800a0001006c696d6974000000340002800c00010000000000000000140c000200000000000000000108000300000000fa08000400000000000800050000000000',
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'counter',
    expressions: [{ kind: 'counter' }],
    bytes: ['140001800c000100636f756e7465720004000280'],
  },
  {
    nft: 'counter name hits',
    expressions: [{ kind: 'objref', counter: 'hits' }],
    bytes: [
      {
        nft: '240001800b0001006f626a72656600001400028008000100000000010800020068697473',
        ours: '280001800b0001006f626a7265660000180002800800010000000001090002006869747300000000',
        because: NUL,
      },
    ],
  },
  {
    nft: 'limit rate 100/second burst 100 packets',
    expressions: [{ kind: 'limit', rate: 100, unit: 'second', burst: 100 }],
    bytes: [
      '440001800a0001006c696d6974000000340002800c00010000000000000000640c0002000000000000000001080003000000006408000400000000000800050000000000',
    ],
  },
  {
    nft: 'limit rate 3/minute burst 5 packets',
    expressions: [{ kind: 'limit', rate: 3, unit: 'minute', burst: 5 }],
    bytes: [
      '440001800a0001006c696d6974000000340002800c00010000000000000000030c000200000000000000003c080003000000000508000400000000000800050000000000',
    ],
  },
  {
    nft: 'log prefix "opened ssh" group 22',
    expressions: [{ kind: 'log', prefix: 'opened ssh', group: 22 }],
    bytes: ['28000180080001006c6f67001c0002800f0002006f70656e65642073736800000600010000160000'],
  },
  {
    nft: 'reject with tcp reset',
    words: 'meta l4proto tcp reject with tcp reset',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('06') },
      { kind: 'reject', with: 'tcp reset' },
    ],
    bytes: [
      '24000180090001006d657461000000001400028008000200000000100800010000000001',
      '2c00018008000100636d700020000280080001000000000108000200000000000c0003800500010006000000',
      '240001800b00010072656a65637400001400028008000100000000010500020000000000',
    ],
  },
  {
    nft: 'reject',
    expressions: [{ kind: 'reject', with: 'port unreachable' }],
    bytes: ['240001800b00010072656a65637400001400028008000100000000020500020001000000'],
  },
  {
    nft: 'reject with icmpx admin-prohibited',
    expressions: [{ kind: 'reject', with: 'admin prohibited' }],
    bytes: ['240001800b00010072656a65637400001400028008000100000000020500020003000000'],
  },
];

/** What this program never writes: the rule's words, the kernel's name, and the bytes of that expression. */
const UNKNOWN = [
  ['ct mark 1', 'ct', '2000018007000100637400001400028008000200000000030800010000000001'],
  ['ct mark set 1', 'ct', '2000018007000100637400001400028008000200000000030800040000000001'],
  [
    'tcp dport set 22',
    'payload',
    '440001800c0001007061796c6f61640034000280080005000000000108000200000000020800030000000002080004000000000208000600000000010800070000000010',
  ],
  [
    'meta mark set meta mark << 1',
    'bitwise',
    '400001800c00010062697477697365003000028008000100000000010800020000000001080006000000000108000300000000040c0007800800010001000000',
  ],
  [
    'meta mark set meta mark ^ 1',
    'bitwise',
    '4c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300000000040c00048008000100ffffffff0c0005800800010001000000',
  ],
  ['meta skgid 0', 'meta', '24000180090001006d6574610000000014000280080002000000000b0800010000000001'],
  [
    'fib saddr type local',
    'fib',
    '2800018008000100666962001c000280080003000000000108000200000000030800010000000001',
  ],
  [
    'fib saddr oif 0',
    'fib',
    '2800018008000100666962001c000280080003000000000108000200000000010800010000000001',
  ],
  [
    'socket transparent 1',
    'socket',
    '2c0001800b000100736f636b657400001c000280080001000000000008000200000000010800030000000000',
  ],
  ['log level warn', 'log', '18000180080001006c6f67000c0002800800050000000004'],
  ['log flags all', 'log', '18000180080001006c6f67000c000280080006000000002f'],
  [
    'limit rate over 10/second',
    'limit',
    '440001800a0001006c696d6974000000340002800c000100000000000000000a0c0002000000000000000001080003000000000508000400000000000800050000000001',
  ],
  [
    'limit rate 10 kbytes/second',
    'limit',
    '3c0001800a0001006c696d69740000002c0002800c00010000000000000028000c000200000000000000000108000400000000010800050000000000',
  ],
  [
    'reject with icmp type host-prohibited',
    'reject',
    '240001800b00010072656a6563740000140002800800010000000000050002000a000000',
  ],
  [
    'reject with icmpx type no-route',
    'reject',
    '240001800b00010072656a65637400001400028008000100000000020500020000000000',
  ],
  [
    'quota over 100 mbytes',
    'quota',
    '340001800a00010071756f7461000000240002800c00010000000000064000000c00040000000000000000000800020000000001',
  ],
  ['queue num 1', 'queue', '240001800a00010071756575650000001400028006000100000100000600020000010000'],
  [
    'update @clients { ip saddr counter }',
    'dynset',
    '4c0001800b00010064796e73657400003c000280080004000000000108000300000000010c000100636c69656e7473000800020000000002140007800c000100636f756e7465720004000280',
  ],
  [
    'update @clients { ip saddr limit rate over 5/second }',
    'dynset',
    '7c0001800b00010064796e73657400006c000280080004000000000108000300000000010c000100636c69656e7473000800020000000002440007800a0001006c696d6974000000340002800c00010000000000000000050c0002000000000000000001080003000000000508000400000000000800050000000001',
  ],
  [
    'meta mark set numgen inc mod 2',
    'numgen',
    '340001800b0001006e756d67656e0000240002800800010000000001080002000000000208000300000000000800040000000000',
  ],
  [
    'numgen random mod 2 0',
    'numgen',
    '340001800b0001006e756d67656e0000240002800800010000000001080002000000000208000300000000010800040000000000',
  ],
] as const;

/** The bytes of an attribute list with one expression. */
function encode(expressions: Rule['expressions']): string {
  const writer = new AttributeWriter();
  writeExpressions(writer, 4, expressions);
  return writer.finish().toString('hex', 4);
}

const decode = (bytes: string) => readExpressions(new AttributeReader(hex(bytes)));

for (const { nft, words, expressions, bytes } of CASES) {
  t.test(`"${nft}" becomes the bytes that nft makes of it`, t => {
    for (const [index, expected] of bytes.entries()) {
      const ours = encode(expressions.slice(index, index + 1));
      if (typeof expected === 'string') t.equal(ours, expected);
      else {
        t.equal(ours, expected.ours, expected.because);
        t.not(expected.nft, expected.ours);
      }
    }
    t.equal(expressions.length, bytes.length);
    t.end();
  });

  t.test(`"${nft}" is read back from the bytes that nft made, and said in its words`, t => {
    const theirs = bytes.map(part => (typeof part === 'string' ? part : part.nft)).join('');
    t.strictSame(decode(theirs), expressions);
    t.equal(ruleText({ expressions }, SETS), words ?? nft);
    t.end();
  });
}

for (const [nft, name, bytes] of UNKNOWN)
  t.test(`"${nft}", which this program never writes, keeps its name and its bytes`, t => {
    const expressions = decode(bytes);
    t.match(expressions, [{ kind: 'unknown', name }]);
    t.equal(encode(expressions), bytes);
    t.equal(ruleText({ expressions }, SETS), `# ${name}`);
    t.end();
  });

t.test('what the kernel adds to an expression when it lists it does not matter', t => {
  // NFTA_LOG_SNAPLEN and _QTHRESHOLD of 0, a dynset's time-out and flags of 0, and what a rule's own counter counted
  t.strictSame(
    decode(
      encode([
        {
          kind: 'unknown',
          name: 'log',
          raw: hex('06000100001600000f0002006f70656e6564207373680000080003000000000006000400000000000'),
        },
      ]),
    ),
    [{ kind: 'log', prefix: 'opened ssh', group: 22 }],
  );
  t.strictSame(
    decode(
      encode([
        {
          kind: 'unknown',
          name: 'dynset',
          raw: hex(
            '0800040000000001080003000000000208000900000000000c00060000000000000000000c000100636c69656e747300',
          ),
        },
      ]),
    ),
    [{ kind: 'dynset', op: 'delete', set: 'clients', key: KEY }],
  );
  t.strictSame(
    decode(
      encode([
        { kind: 'unknown', name: 'counter', raw: hex('0c000100000000000000012c0c0002000000000000000003') },
      ]),
    ),
    [{ kind: 'counter' }],
  );
  t.end();
});

t.test('every expression is read back from its own bytes, and the bytes are the same again', t => {
  fc.assert(
    fc.property(fc.array(expression, { maxLength: 5 }), expressions => {
      const bytes = encode(expressions);
      assert.deepEqual(decode(bytes), expressions);
      assert.equal(encode(decode(bytes)), bytes);
    }),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('every expression can be said, also one whose register was never loaded', t => {
  fc.assert(
    fc.property(expression, alone => {
      assert.equal(typeof ruleText({ expressions: [alone] }, SETS), 'string');
    }),
    { numRuns: 500 },
  );
  t.end();
});

const plain = { dynamic: false, timeout: false, interval: false } as const;
const STARTED: NftSet = {
  name: 'started',
  types: [ipv4_addr],
  data: mark,
  size: 65535,
  dynamic: true,
  timeout: true,
  interval: false,
};
const SESSIONS: NftSet = {
  name: 's6',
  types: [ipv6_addr, inet_service, inet_service],
  ...plain,
  timeout: true,
};
const ALLOWED: NftSet = { name: 'allowed', types: [ipv4_addr], ...plain, interval: true };
const STEPS: NftSet = { name: 'steps', types: [mark, inet_proto, inet_service], data: mark, ...plain };
const ARRIVALS: NftSet = { name: 'arrivals', types: [mark], data: VERDICT, ...plain };
const STEP = { key: hex('010000000600000009290000'), data: hex('02000000'), comment: 'ssh 2/4' };
const RANGES = prefixElements([
  { address: Uint8Array.from([10, 0, 0, 0]), length: 8 },
  { address: Uint8Array.from([192, 0, 2, 7]), length: 32 },
  { address: Uint8Array.from([224, 0, 0, 0]), length: 3 },
]);

function only(messages: readonly Message[]): Message {
  const [message] = messages;
  if (!message || messages.length > 1) throw new Error('one message is expected');
  return message;
}

/** The attributes of whole messages, after struct nfgenmsg; in `table inet t`. */
const MESSAGES: readonly (readonly [command: string, Message, type: number, bytes: string | Difference])[] = [
  [
    'table inet t { comment "knockd-nft" }',
    newTable({ name: 't', comment: 'knockd-nft' }),
    0,
    '0600010074000000080002000000000011000600000b6b6e6f636b642d6e667400000000',
  ],
  ['delete table inet t', deleteTable('t'), 2, '0600010074000000'],
  ['chain x { }', newChain('t', { name: 'x' }), 3, '06000100740000000600030078000000'],
  [
    'chain input { type filter hook input priority -10; policy drop; }',
    newChain('t', { name: 'input', hook: { name: 'input', priority: -10, policy: 'drop' } }),
    3,
    {
      nft: '06000100740000000a000300696e7075740000000b00070066696c7465720000080005000000000014000480080001000000000108000200fffffff6',
      ours: '06000100740000000a000300696e70757400000014000480080001000000000108000200fffffff608000500000000000b00070066696c7465720000',
      because: ORDER,
    },
  ],
  ['delete chain inet t input', deleteChain('t', 'input'), 5, '06000100740000000a000300696e707574000000'],
  [
    'accept comment "knockd-nft 1.0.0 3f2a9c51"',
    newRule(
      't',
      'input',
      {
        expressions: [{ kind: 'immediate', verdict: { code: 'accept' } }],
        comment: 'knockd-nft 1.0.0 3f2a9c51',
      },
      1,
    ),
    6,
    '06000100740000000a000200696e70757400000034000480300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c000280080001000000000120000700001a6b6e6f636b642d6e667420312e302e3020336632613963353100',
  ],
  ['flush chain inet t x', flushChain('t', 'x'), 8, '06000100740000000600020078000000'],
  [
    'map started { type ipv4_addr : mark; size 65535; flags dynamic,timeout; }',
    newSet('t', STARTED),
    9,
    {
      nft: '06000100740000000c00020073746172746564000800030000000038080004000000000708000500000000040800060000000013080007000000000408000a00000000010c000980080001000000ffff16000d000004020000000104010000000604000000000000',
      ours: '06000100740000000c00020073746172746564000800030000000038080004000000000708000500000000040800060000000013080007000000000408000a00000000010c000980080001000000ffff10000d00000402000000010401000000',
      because: FORMAT,
    },
  ],
  [
    'set s6 { type ipv6_addr . inet_service . inet_service; flags timeout; }',
    newSet('t', SESSIONS),
    9,
    {
      nft: '060001007400000007000200733600000800030000000010080004000000834d080005000000001808000a000000000214000d00000400000000030800040d0000000100',
      ours: '060001007400000007000200733600000800030000000010080004000000834d080005000000001808000a00000000010a000d000004000000000000',
      because: `${SET_ID}; ${FORMAT}`,
    },
  ],
  [
    'set allowed { type ipv4_addr; flags interval; }',
    newSet('t', ALLOWED),
    9,
    {
      nft: '06000100740000000c000200616c6c6f7765640008000300000000040800040000000007080005000000000408000a00000000030a000d000004020000000000',
      ours: '06000100740000000c000200616c6c6f7765640008000300000000040800040000000007080005000000000408000a00000000010a000d000004020000000000',
      because: SET_ID,
    },
  ],
  [
    'map steps { type mark . inet_proto . inet_service : mark; }',
    newSet('t', STEPS),
    9,
    {
      nft: '06000100740000000a00020073746570730000000800030000000008080004000001330d080005000000000c0800060000000013080007000000000408000a000000000420000d00000400000000010401000000030800040d0000000100060400000000',
      ours: '06000100740000000a00020073746570730000000800030000000008080004000001330d080005000000000c0800060000000013080007000000000408000a000000000110000d00000400000000010401000000',
      because: `${SET_ID}; ${FORMAT}`,
    },
  ],
  [
    'map arrivals { type mark : verdict; }',
    newSet('t', ARRIVALS),
    9,
    {
      nft: '06000100740000000d0002006172726976616c730000000008000300000000080800040000000013080005000000000408000600ffffff00080007000000000008000a000000000516000d000004010000000104000000000604000000000000',
      ours: '06000100740000000d0002006172726976616c730000000008000300000000080800040000000013080005000000000408000600ffffff00080007000000000008000a000000000110000d00000401000000010400000000',
      because: `${SET_ID}; ${FORMAT}`,
    },
  ],
  [
    'delete map inet t arrivals',
    deleteSet('t', ARRIVALS),
    11,
    '06000100740000000d0002006172726976616c7300000000',
  ],
  ['delete set inet t s6', deleteSet('t', SESSIONS), 11, '06000100740000000700020073360000'],
  [
    'elements = { 2001:db8::1 . 1000 . 22 timeout 24h expires 1h }',
    only(
      newElements('t', SESSIONS, [
        {
          key: hex('20010db800000000000000000000000103e8000000160000'),
          timeout: 86_400_000,
          expires: 3_600_000,
        },
      ]),
    ),
    12,
    {
      nft: '060001007400000007000200733600000800040000000002400003803c0001800c0004000000000005265c000c000500000000000036ee80200001801c00010020010db800000000000000000000000103e8000000160000',
      ours: '06000100740000000700020073360000400003803c0001800c0004000000000005265c000c000500000000000036ee80200001801c00010020010db800000000000000000000000103e8000000160000',
      because: SET_ID,
    },
  ],
  [
    'elements = { 10.0.0.0/8, 192.0.2.7, 224.0.0.0/3 }',
    only(newElements('t', ALLOWED, RANGES)),
    12,
    {
      nft: '06000100740000000c000200616c6c6f776564000800040000000003880003801800018008000300000000010c0001800800010000000000100002800c000180080001000a0000001800038008000300000000010c000180080001000b000000100004800c00018008000100c00002071800058008000300000000010c00018008000100c00002081c0006800c00018008000100e00000000a0006000104010000000000',
      ours: '06000100740000000c000200616c6c6f77656400880003801800018008000300000000010c0001800800010000000000100001800c000180080001000a0000001800018008000300000000010c000180080001000b000000100001800c00018008000100c00002071800018008000300000000010c00018008000100c00002081c0001800c00018008000100e00000000a0006000104010000000000',
      because: `${SET_ID}; the elements of a list are all of type 1 here, while nft counts them`,
    },
  ],
  [
    'elements = { 1 . tcp . 2345 comment "ssh 2/4" : 2 }',
    only(newElements('t', STEPS, [STEP])),
    12,
    {
      nft: '06000100740000000a00020073746570730000000800040000000004380003803400018014000180100001000100000006000000092900000c00028008000100020000000e000600000873736820322f34000000',
      ours: '06000100740000000a0002007374657073000000380003803400018014000180100001000100000006000000092900000c00028008000100020000000e000600000873736820322f34000000',
      because: SET_ID,
    },
  ],
  [
    'elements = { 0 : return, 1 : goto x }',
    only(
      newElements('t', ARRIVALS, [
        { key: hex('00000000'), data: { code: 'return' } },
        { key: hex('01000000'), data: { code: 'goto', chain: 'x' } },
      ]),
    ),
    12,
    {
      nft: '06000100740000000d0002006172726976616c730000000008000400000000054c000380200001800c0001800800010000000000100002800c00028008000100fffffffb280002800c0001800800010001000000180002801400028008000100fffffffc0600020078000000',
      ours: '06000100740000000d0002006172726976616c73000000004c000380200001800c0001800800010000000000100002800c00028008000100fffffffb280001800c0001800800010001000000180002801400028008000100fffffffc0600020078000000',
      because: `${SET_ID}; the elements of a list are all of type 1 here, while nft counts them`,
    },
  ],
  [
    'delete element inet t steps { 1 . tcp . 2345 }',
    only(deleteElements('t', STEPS, [STEP])),
    14,
    '06000100740000000a00020073746570730000001c000380180001801400018010000100010000000600000009290000',
  ],
  [
    'counter c { packets 3 bytes 300 }',
    newCounter('t', { name: 'c', packets: 3, bytes: 300 }),
    18,
    '0600010074000000060002006300000008000300000000011c0004800c000100000000000000012c0c0002000000000000000003',
  ],
  [
    'delete counter inet t c',
    deleteCounter('t', 'c'),
    20,
    {
      nft: '06000100740000000600020063000000080003000000000104000480',
      ours: '060001007400000006000200630000000800030000000001',
      because: 'nft gives the data of the counter, which is empty',
    },
  ],
];

function attributesOf(message: Message): Buffer {
  const writer = new AttributeWriter();
  message.write(writer);
  return Buffer.from(writer.finish());
}

for (const [command, message, type, bytes] of MESSAGES)
  t.test(`"${command}" becomes the message that nft sends`, t => {
    const ours = attributesOf(message).toString('hex');
    if (typeof bytes === 'string') t.equal(ours, bytes);
    else {
      t.equal(ours, bytes.ours, bytes.because);
      t.not(bytes.nft, bytes.ours);
    }
    // NFNL_SUBSYS_NFTABLES in the high byte
    t.equal(message.type, 10 * 256 + type);
    // NLM_F_CREATE for all that is made; a rule goes to the end (NLM_F_APPEND)
    const isNew = [0, 3, 6, 9, 12, 18].includes(type);
    t.equal(message.flags, isNew ? (type === 6 ? 0xc00 : 0x400) : 0);
    t.end();
  });

function nftBytes(command: string): AttributeReader {
  const bytes = MESSAGES.find(([name]) => name.startsWith(command))?.[3] ?? '';
  return new AttributeReader(hex(typeof bytes === 'string' ? bytes : bytes.nft));
}

t.test('what nft sends is read as what it means', t => {
  t.strictSame(decodeTable(nftBytes('table')), { name: 't', comment: 'knockd-nft' });
  t.strictSame(decodeChain(nftBytes('chain x')), { table: 't', name: 'x' });
  t.strictSame(decodeChain(nftBytes('chain input')), {
    table: 't',
    name: 'input',
    hook: { name: 'input', priority: -10, policy: 'drop' },
  });
  t.strictSame(decodeRule(nftBytes('accept')), {
    table: 't',
    chain: 'input',
    expressions: [{ kind: 'immediate', verdict: { code: 'accept' } }],
    comment: 'knockd-nft 1.0.0 3f2a9c51',
  });
  for (const [command, expected] of [
    ['map started', STARTED],
    ['set s6', SESSIONS],
    ['set allowed', ALLOWED],
    ['map steps', STEPS],
    ['map arrivals', ARRIVALS],
  ] as const)
    t.strictSame(decodeSet(nftBytes(command)), { ...expected, table: 't', anonymous: false });
  t.strictSame(decodeElements(nftBytes('elements = { 2001')), [
    { key: hex('20010db800000000000000000000000103e8000000160000'), timeout: 86_400_000, expires: 3_600_000 },
  ]);
  t.strictSame(decodeElements(nftBytes('elements = { 10.')), RANGES);
  t.strictSame(decodeElements(nftBytes('elements = { 1 .')), [STEP]);
  t.strictSame(decodeElements(nftBytes('elements = { 0 :')), [
    { key: hex('00000000'), data: { code: 'return' } },
    { key: hex('01000000'), data: { code: 'goto', chain: 'x' } },
  ]);
  t.strictSame(decodeCounter(nftBytes('counter')), { table: 't', name: 'c', packets: 3, bytes: 300 });
  t.end();
});

t.test('rules are the same where the kernel does the same and nft prints the same', t => {
  const rule: Rule = { expressions: [{ kind: 'counter' }], comment: 'a' };
  t.ok(sameRule(rule, structuredClone(rule)));
  t.notOk(sameRule(rule, { ...rule, comment: 'b' }));
  t.notOk(sameRule(rule, { expressions: rule.expressions }));
  t.notOk(sameRule(rule, { ...rule, expressions: [] }));
  t.end();
});

t.test(
  'elements that do not fit into one message go into several, each within the limit of an attribute',
  t => {
    const elements = Array.from({ length: 5000 }, (_, port) => ({
      ...STEP,
      key: hex(port.toString(16).padStart(24, '0')),
      comment: 'x'.repeat(port % 129),
    }));
    const messages = newElements('t', STEPS, elements);
    t.ok(messages.length > 1);
    const read = messages.flatMap(message => {
      const reader = new AttributeReader(attributesOf(message));
      while (reader.next()) t.ok(reader.size <= 0xffff - 4);
      return decodeElements(new AttributeReader(attributesOf(message)));
    });
    t.strictSame(
      read,
      elements.map(({ comment, ...rest }) => ({ ...rest, comment })),
    );
    t.strictSame(newElements('t', STEPS, []), []);
    t.end();
  },
);
