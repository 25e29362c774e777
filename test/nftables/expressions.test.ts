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
import { bytesOf, dump, linesOf } from '../dump.ts';
import { expression } from './arbitrary.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

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
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 00000001`,
    ],
  },
  {
    nft: 'drop',
    expressions: [{ kind: 'immediate', verdict: { code: 'drop' } }],
    bytes: [
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 00000000`,
    ],
  },
  {
    nft: 'return',
    expressions: [{ kind: 'immediate', verdict: { code: 'return' } }],
    bytes: [
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 fffffffb`,
    ],
  },
  {
    nft: 'continue',
    expressions: [{ kind: 'immediate', verdict: { code: 'continue' } }],
    bytes: [
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 ffffffff`,
    ],
  },
  {
    nft: 'jump c2',
    expressions: [{ kind: 'immediate', verdict: { code: 'jump', chain: 'c2' } }],
    bytes: [
      `0000  38000180 0e000100 696d6d65 64696174 65000000
       0014           24000280 08000100 00000000
       0020                    18000280 14000280 08000100 fffffffd
       0030                                      07000200 63320000`,
    ],
  },
  {
    nft: 'goto c2',
    expressions: [{ kind: 'immediate', verdict: { code: 'goto', chain: 'c2' } }],
    bytes: [
      `0000  38000180 0e000100 696d6d65 64696174 65000000
       0014           24000280 08000100 00000000
       0020                    18000280 14000280 08000100 fffffffc
       0030                                      07000200 63320000`,
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
      `0000  20000180 07000100 63740000
       000c           14000280 08000200 00000000
       0018                    08000100 00000001`,
      {
        nft: `0000  44000180 0c000100 62697477 69736500
              0010           34000280 08000100 00000001
              001c                    08000200 00000001
              0024                    08000300 00000004
              002c                    0c000480 08000100 02000000
              0038                    0c000580 08000100 00000000`,
        ours: `0000  4c000180 0c000100 62697477 69736500
               0010           3c000280 08000100 00000001
               001c                    08000200 00000001
               0024                    08000600 00000000
               002c                    08000300 00000004
               0034                    0c000480 08000100 02000000
               0040                    0c000580 08000100 00000000`,
        because: OPERATION,
      },
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 08000100 00000000`,
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
      `0000  20000180 07000100 63740000
       000c           14000280 08000200 00000000
       0018                    08000100 00000001`,
      {
        nft: `0000  44000180 0c000100 62697477 69736500
              0010           34000280 08000100 00000001
              001c                    08000200 00000001
              0024                    08000300 00000004
              002c                    0c000480 08000100 01000000
              0038                    0c000580 08000100 00000000`,
        ours: `0000  4c000180 0c000100 62697477 69736500
               0010           3c000280 08000100 00000001
               001c                    08000200 00000001
               0024                    08000600 00000000
               002c                    08000300 00000004
               0034                    0c000480 08000100 01000000
               0040                    0c000580 08000100 00000000`,
        because: OPERATION,
      },
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 08000100 00000000`,
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 fffffffb`,
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
      `0000  20000180 07000100 63740000
       000c           14000280 08000200 00000002
       0018                    08000100 00000001`,
      {
        nft: `0000  44000180 0c000100 62697477 69736500
              0010           34000280 08000100 00000001
              001c                    08000200 00000001
              0024                    08000300 00000004
              002c                    0c000480 08000100 08000000
              0038                    0c000580 08000100 00000000`,
        ours: `0000  4c000180 0c000100 62697477 69736500
               0010           3c000280 08000100 00000001
               001c                    08000200 00000001
               0024                    08000600 00000000
               002c                    08000300 00000004
               0034                    0c000480 08000100 08000000
               0040                    0c000580 08000100 00000000`,
        because: OPERATION,
      },
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 08000100 00000000`,
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 00000001`,
    ],
  },
  {
    nft: 'meta nfproto ipv4',
    expressions: [
      { kind: 'meta', key: 'nfproto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('02') },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
    ],
  },
  {
    nft: 'meta l4proto udp',
    expressions: [
      { kind: 'meta', key: 'l4proto', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('11') },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 11000000`,
    ],
  },
  {
    nft: 'iif "lo"',
    expressions: [
      { kind: 'meta', key: 'iif', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('01000000') },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000004
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 08000100 01000000`,
    ],
  },
  {
    nft: 'iifname "eth0"',
    expressions: [
      { kind: 'meta', key: 'iifname', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('65746830000000000000000000000000') },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000006
       001c                    08000100 00000001`,
      `0000  38000180 08000100 636d7000
       000c           2c000280 08000100 00000001
       0018                    08000200 00000000
       0020                    18000380 14000100 65746830 00000000 00000000 00000000`,
    ],
  },
  {
    nft: 'iifname "wg*"',
    expressions: [
      { kind: 'meta', key: 'iifname', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('7767') },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000006
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 06000100 77670000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 08000100 c0000207`,
    ],
  },
  {
    nft: 'th dport > 1023',
    expressions: [
      { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'gt', value: hex('03ff') },
    ],
    bytes: [
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000002
       0024                    08000300 00000002
       002c                    08000400 00000002`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000004
       0020                    0c000380 06000100 03ff0000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      {
        nft: `0000  30000180 0b000100 6c6f6f6b 75700000
              0010           20000280 08000200 00000001
              001c                    0c000100 616c6c6f 77656400
              0028                    08000400 00000006`,
        ours: `0000  28000180 0b000100 6c6f6f6b 75700000
               0010           18000280 08000200 00000001
               001c                    0c000100 616c6c6f 77656400`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      `0000  4c000180 0c000100 62697477 69736500
       0010           3c000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000600 00000000
       002c                    08000300 00000004
       0034                    0c000480 08000100 ffffff00
       0040                    0c000580 08000100 00000000`,
      {
        nft: `0000  30000180 0b000100 6c6f6f6b 75700000
              0010           20000280 08000200 00000001
              001c                    0c000100 616c6c6f 77656400
              0028                    08000400 00000006`,
        ours: `0000  28000180 0b000100 6c6f6f6b 75700000
               0010           18000280 08000200 00000001
               001c                    0c000100 616c6c6f 77656400`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 0a000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 00000008
       002c                    08000400 00000010`,
      `0000  64000180 0c000100 62697477 69736500
       0010           54000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000600 00000000
       002c                    08000300 00000010
       0034                    18000480 14000100 ffffffff ffffffff 00000000 00000000
       004c                    18000580 14000100 00000000 00000000 00000000 00000000`,
      {
        nft: `0000  34000180 0b000100 6c6f6f6b 75700000
              0010           24000280 08000200 00000001
              001c                    0d000100 636c6965 6e747336 00000000
              002c                    08000400 00000003`,
        ours: `0000  2c000180 0b000100 6c6f6f6b 75700000
               0010           1c000280 08000200 00000001
               001c                    0d000100 636c6965 6e747336 00000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 0a000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 00000008
       002c                    08000400 00000010`,
      {
        nft: `0000  5c000180 0c000100 62697477 69736500
              0010           4c000280 08000100 00000001
              001c                    08000200 00000001
              0024                    08000300 00000010
              002c                    18000480 14000100 ffc00000 00000000 00000000 00000000
              0044                    18000580 14000100 00000000 00000000 00000000 00000000`,
        ours: `0000  64000180 0c000100 62697477 69736500
               0010           54000280 08000100 00000001
               001c                    08000200 00000001
               0024                    08000600 00000000
               002c                    08000300 00000010
               0034                    18000480 14000100 ffc00000 00000000 00000000 00000000
               004c                    18000580 14000100 00000000 00000000 00000000 00000000`,
        because: OPERATION,
      },
      `0000  38000180 08000100 636d7000
       000c           2c000280 08000100 00000001
       0018                    08000200 00000000
       0020                    18000380 14000100 fe800000 00000000 00000000 00000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 0a000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 00000007
       002c                    08000400 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 ff000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 01000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000002
       0024                    08000300 00000000
       002c                    08000400 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 08000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 0a000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 3a000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000002
       0024                    08000300 00000000
       002c                    08000400 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 87000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000002
       0024                    08000300 0000000d
       002c                    08000400 00000001`,
      `0000  4c000180 0c000100 62697477 69736500
       0010           3c000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000600 00000000
       002c                    08000300 00000001
       0034                    0c000480 05000100 17000000
       0040                    0c000580 05000100 00000000`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 05000100 02000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000002
       0024                    08000300 0000000d
       002c                    08000400 00000001`,
      `0000  4c000180 0c000100 62697477 69736500
       0010           3c000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000600 00000000
       002c                    08000300 00000001
       0034                    0c000480 05000100 12000000
       0040                    0c000580 05000100 00000000`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
    ],
  },
  {
    nft: 'ct direction reply',
    expressions: [
      { kind: 'ct', key: 'direction', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'eq', value: hex('01') },
    ],
    bytes: [
      `0000  20000180 07000100 63740000
       000c           14000280 08000200 00000001
       0018                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 01000000`,
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
      `0000  20000180 07000100 63740000
       000c           14000280 08000200 00000002
       0018                    08000100 00000001`,
      `0000  4c000180 0c000100 62697477 69736500
       0010           3c000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000600 00000000
       002c                    08000300 00000004
       0034                    0c000480 08000100 0c000000
       0040                    0c000580 08000100 00000000`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 08000100 08000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000a
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 08000100 ffffffff`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000009
       001c                    08000200 00000002
       0024                    08000300 00000000
       002c                    08000400 00000002`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 0000000a
       001c                    08000200 00000002
       0024                    08000300 00000002
       002c                    08000400 00000002`,
      {
        nft: `0000  48000180 0b000100 64796e73 65740000
              0010           38000280 08000400 00000001
              001c                    08000300 00000001
              0024                    0c000600 00000000 000124f8
              0030                    10000100 636f6e6e 65637469 6f6e7300
              0040                    08000200 00000001`,
        ours: `0000  40000180 0b000100 64796e73 65740000
               0010           30000280 08000400 00000001
               001c                    08000300 00000001
               0024                    0c000600 00000000 000124f8
               0030                    10000100 636f6e6e 65637469 6f6e7300`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000002`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 06000100 a9fe0000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000002
       0024                    08000300 0000000d
       002c                    08000400 00000001`,
      `0000  4c000180 0c000100 62697477 69736500
       0010           3c000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000600 00000000
       002c                    08000300 00000001
       0034                    0c000480 05000100 07000000
       0040                    0c000580 05000100 00000000`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 00000000`,
    ],
  },
  {
    nft: 'meta mark != 0x00000000',
    expressions: [
      { kind: 'meta', key: 'mark', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('00000000') },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 08000100 00000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      {
        nft: `0000  38000180 0b000100 6c6f6f6b 75700000
              0010           28000280 08000200 00000001
              001c                    0c000100 636c6965 6e747300
              0028                    08000400 00000001
              0030                    08000500 00000001`,
        ours: `0000  30000180 0b000100 6c6f6f6b 75700000
               0010           20000280 08000200 00000001
               001c                    0c000100 636c6965 6e747300
               0028                    08000500 00000001`,
        because: SET_ID,
      },
      `0000  30000180 0e000100 696d6d65 64696174 65000000
       0014           1c000280 08000100 00000000
       0020                    10000280 0c000280 08000100 fffffffb`,
    ],
  },
  {
    nft: 'fib daddr type != local',
    expressions: [
      { kind: 'fib', result: 'daddr type', dreg: KEY },
      { kind: 'cmp', sreg: KEY, op: 'neq', value: hex('02000000') },
    ],
    bytes: [
      `0000  28000180 08000100 66696200
       000c           1c000280 08000300 00000002
       0018                    08000200 00000003
       0020                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000001
       0020                    0c000380 08000100 02000000`,
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
        nft: `0000  2c000180 0b000100 736f636b 65740000
              0010           1c000280 08000100 00000002
              001c                    08000200 00000001
              0024                    08000300 00000000`,
        ours: `0000  24000180 0b000100 736f636b 65740000
               0010           14000280 08000100 00000002
               001c                    08000200 00000001`,
        because: LEVEL,
      },
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000003
       0020                    0c000380 05000100 01000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000009
       001c                    08000200 00000002
       0024                    08000300 00000000
       002c                    08000400 00000002`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 0000000a
       001c                    08000200 00000002
       0024                    08000300 00000002
       002c                    08000400 00000002`,
      {
        nft: `0000  34000180 0b000100 6c6f6f6b 75700000
              0010           24000280 08000200 00000001
              001c                    0d000100 73657373 696f6e73 00000000
              002c                    08000400 00000004`,
        ours: `0000  2c000180 0b000100 6c6f6f6b 75700000
               0010           1c000280 08000200 00000001
               001c                    0d000100 73657373 696f6e73 00000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 0a000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 00000008
       002c                    08000400 00000010`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000002
       001c                    08000200 00000002
       0024                    08000300 00000000
       002c                    08000400 00000002`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 0000000d
       001c                    08000200 00000002
       0024                    08000300 00000002
       002c                    08000400 00000002`,
      {
        nft: `0000  34000180 0b000100 6c6f6f6b 75700000
              0010           24000280 08000200 00000001
              001c                    0e000100 73657373 696f6e73 36000000
              002c                    08000400 00000005`,
        ours: `0000  2c000180 0b000100 6c6f6f6b 75700000
               0010           1c000280 08000200 00000001
               001c                    0e000100 73657373 696f6e73 36000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000009
       001c                    08000200 00000002
       0024                    08000300 00000002
       002c                    08000400 00000002`,
      {
        nft: `0000  38000180 0b000100 6c6f6f6b 75700000
              0010           28000280 08000200 00000001
              001c                    08000300 00000000
              0024                    0a000100 706f7274 73000000
              0030                    08000400 00000009`,
        ours: `0000  30000180 0b000100 6c6f6f6b 75700000
               0010           20000280 08000200 00000001
               001c                    08000300 00000000
               0024                    0a000100 706f7274 73000000`,
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
      `0000  2c000180 0e000100 696d6d65 64696174 65000000
       0014           18000280 08000100 00000001
       0020                    0c000280 08000100 00000000`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000300 00000001`,
    ],
  },
  {
    nft: 'meta mark set 0x01020304',
    expressions: [
      { kind: 'immediate', dreg: KEY, value: hex('04030201') },
      { kind: 'meta', key: 'mark', sreg: KEY },
    ],
    bytes: [
      `0000  2c000180 0e000100 696d6d65 64696174 65000000
       0014           18000280 08000100 00000001
       0020                    0c000280 08000100 04030201`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000300 00000001`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      {
        nft: `0000  38000180 0b000100 6c6f6f6b 75700000
              0010           28000280 08000200 00000001
              001c                    08000300 00000001
              0024                    0c000100 73746172 74656400
              0030                    08000400 00000001`,
        ours: `0000  30000180 0b000100 6c6f6f6b 75700000
               0010           20000280 08000200 00000001
               001c                    08000300 00000001
               0024                    0c000100 73746172 74656400`,
        because: SET_ID,
      },
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000300 00000001`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000100 00000001`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000009`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 0000000a
       001c                    08000200 00000002
       0024                    08000300 00000002
       002c                    08000400 00000002`,
      {
        nft: `0000  38000180 0b000100 6c6f6f6b 75700000
              0010           28000280 08000200 00000001
              001c                    08000300 00000001
              0024                    0a000100 73746570 73000000
              0030                    08000400 00000007`,
        ours: `0000  30000180 0b000100 6c6f6f6b 75700000
               0010           20000280 08000200 00000001
               001c                    08000300 00000001
               0024                    0a000100 73746570 73000000`,
        because: SET_ID,
      },
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000300 00000001`,
    ],
  },
  {
    nft: 'meta mark vmap @arrivals',
    expressions: [
      { kind: 'meta', key: 'mark', dreg: KEY },
      { kind: 'lookup', set: 'arrivals', sreg: KEY, dreg: VERDICT },
    ],
    bytes: [
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000100 00000001`,
      {
        nft: `0000  3c000180 0b000100 6c6f6f6b 75700000
              0010           2c000280 08000200 00000001
              001c                    08000300 00000000
              0024                    0d000100 61727269 76616c73 00000000
              0034                    08000400 00000008`,
        ours: `0000  34000180 0b000100 6c6f6f6b 75700000
               0010           24000280 08000200 00000001
               001c                    08000300 00000000
               0024                    0d000100 61727269 76616c73 00000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000100 00000002`,
      {
        nft: `0000  4c000180 0b000100 64796e73 65740000
              0010           3c000280 08000400 00000001
              001c                    08000500 00000002
              0024                    08000300 00000000
              002c                    0c000600 00000000 00001388
              0038                    0c000100 73746172 74656400
              0044                    08000200 00000001`,
        ours: `0000  44000180 0b000100 64796e73 65740000
               0010           34000280 08000400 00000001
               001c                    08000500 00000002
               0024                    08000300 00000000
               002c                    0c000600 00000000 00001388
               0038                    0c000100 73746172 74656400`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000003
       001c                    08000100 00000002`,
      {
        nft: `0000  40000180 0b000100 64796e73 65740000
              0010           30000280 08000400 00000001
              001c                    08000500 00000002
              0024                    08000300 00000002
              002c                    0c000100 73746172 74656400
              0038                    08000200 00000001`,
        ours: `0000  38000180 0b000100 64796e73 65740000
               0010           28000280 08000400 00000001
               001c                    08000500 00000002
               0024                    08000300 00000002
               002c                    0c000100 73746172 74656400`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      {
        nft: `0000  44000180 0b000100 64796e73 65740000
              0010           34000280 08000400 00000001
              001c                    08000300 00000001
              0024                    0c000600 00000000 00002710
              0030                    0c000100 636c6965 6e747300
              003c                    08000200 00000002`,
        ours: `0000  3c000180 0b000100 64796e73 65740000
               0010           2c000280 08000400 00000001
               001c                    08000300 00000001
               0024                    0c000600 00000000 00002710
               0030                    0c000100 636c6965 6e747300`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 0a000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 00000008
       002c                    08000400 00000010`,
      {
        nft: `0000  3c000180 0b000100 64796e73 65740000
              0010           2c000280 08000400 00000001
              001c                    08000300 00000002
              0024                    0d000100 636c6965 6e747336 00000000
              0034                    08000200 00000003`,
        ours: `0000  34000180 0b000100 64796e73 65740000
               0010           24000280 08000400 00000001
               001c                    08000300 00000002
               0024                    0d000100 636c6965 6e747336 00000000`,
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 0000000f
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 02000000`,
      `0000  34000180 0c000100 7061796c 6f616400
       0010           24000280 08000100 00000001
       001c                    08000200 00000001
       0024                    08000300 0000000c
       002c                    08000400 00000004`,
      {
        nft: `0000  88000180 0b000100 64796e73 65740000
              0010           78000280 08000400 00000001
              001c                    08000300 00000001
              0024                    0c000600 00000000 00001388
              0030                    0c000100 636c6965 6e747300
              003c                    08000200 00000002
              0044                    44000780 0a000100 6c696d69 74000000
              0054                             34000280 0c000100 00000000 00000014
              0064                                      0c000200 00000000 00000001
              0070                                      08000300 000000fa
              0078                                      08000400 00000000
              0080                                      08000500 00000000`,
        ours: `0000  80000180 0b000100 64796e73 65740000
               0010           70000280 08000400 00000001
               001c                    08000300 00000001
               0024                    0c000600 00000000 00001388
               0030                    0c000100 636c6965 6e747300
               003c                    44000780 0a000100 6c696d69 74000000
               004c                             34000280 0c000100 00000000 00000014
               005c                                      0c000200 00000000 00000001
               0068                                      08000300 000000fa
               0070                                      08000400 00000000
               0078                                      08000500 00000000`,
        because: SET_ID,
      },
    ],
  },
  {
    nft: 'counter',
    expressions: [{ kind: 'counter' }],
    bytes: [
      `0000  14000180 0c000100 636f756e 74657200
       0010           04000280`,
    ],
  },
  {
    nft: 'counter name hits',
    expressions: [{ kind: 'objref', counter: 'hits' }],
    bytes: [
      {
        nft: `0000  24000180 0b000100 6f626a72 65660000
              0010           14000280 08000100 00000001
              001c                    08000200 68697473`,
        ours: `0000  28000180 0b000100 6f626a72 65660000
               0010           18000280 08000100 00000001
               001c                    09000200 68697473 00000000`,
        because: NUL,
      },
    ],
  },
  {
    nft: 'limit rate 100/second burst 100 packets',
    expressions: [{ kind: 'limit', rate: 100, unit: 'second', burst: 100 }],
    bytes: [
      `0000  44000180 0a000100 6c696d69 74000000
       0010           34000280 0c000100 00000000 00000064
       0020                    0c000200 00000000 00000001
       002c                    08000300 00000064
       0034                    08000400 00000000
       003c                    08000500 00000000`,
    ],
  },
  {
    nft: 'limit rate 3/minute burst 5 packets',
    expressions: [{ kind: 'limit', rate: 3, unit: 'minute', burst: 5 }],
    bytes: [
      `0000  44000180 0a000100 6c696d69 74000000
       0010           34000280 0c000100 00000000 00000003
       0020                    0c000200 00000000 0000003c
       002c                    08000300 00000005
       0034                    08000400 00000000
       003c                    08000500 00000000`,
    ],
  },
  {
    nft: 'log prefix "opened ssh" group 22',
    expressions: [{ kind: 'log', prefix: 'opened ssh', group: 22 }],
    bytes: [
      `0000  28000180 08000100 6c6f6700
       000c           1c000280 0f000200 6f70656e 65642073 73680000
       0020                    06000100 00160000`,
    ],
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
      `0000  24000180 09000100 6d657461 00000000
       0010           14000280 08000200 00000010
       001c                    08000100 00000001`,
      `0000  2c000180 08000100 636d7000
       000c           20000280 08000100 00000001
       0018                    08000200 00000000
       0020                    0c000380 05000100 06000000`,
      `0000  24000180 0b000100 72656a65 63740000
       0010           14000280 08000100 00000001
       001c                    05000200 00000000`,
    ],
  },
  {
    nft: 'reject',
    expressions: [{ kind: 'reject', with: 'port unreachable' }],
    bytes: [
      `0000  24000180 0b000100 72656a65 63740000
       0010           14000280 08000100 00000002
       001c                    05000200 01000000`,
    ],
  },
  {
    nft: 'reject with icmpx admin-prohibited',
    expressions: [{ kind: 'reject', with: 'admin prohibited' }],
    bytes: [
      `0000  24000180 0b000100 72656a65 63740000
       0010           14000280 08000100 00000002
       001c                    05000200 03000000`,
    ],
  },
];

/** What this program never writes: the rule's words, the kernel's name, and the bytes of that expression. */
const UNKNOWN = [
  [
    'ct mark 1',
    'ct',
    `0000  20000180 07000100 63740000
     000c           14000280 08000200 00000003
     0018                    08000100 00000001`,
  ],
  [
    'ct mark set 1',
    'ct',
    `0000  20000180 07000100 63740000
     000c           14000280 08000200 00000003
     0018                    08000400 00000001`,
  ],
  [
    'tcp dport set 22',
    'payload',
    `0000  44000180 0c000100 7061796c 6f616400
     0010           34000280 08000500 00000001
     001c                    08000200 00000002
     0024                    08000300 00000002
     002c                    08000400 00000002
     0034                    08000600 00000001
     003c                    08000700 00000010`,
  ],
  [
    'meta mark set meta mark << 1',
    'bitwise',
    `0000  40000180 0c000100 62697477 69736500
     0010           30000280 08000100 00000001
     001c                    08000200 00000001
     0024                    08000600 00000001
     002c                    08000300 00000004
     0034                    0c000780 08000100 01000000`,
  ],
  [
    'meta mark set meta mark ^ 1',
    'bitwise',
    `0000  4c000180 0c000100 62697477 69736500
     0010           3c000280 08000100 00000001
     001c                    08000200 00000001
     0024                    08000600 00000000
     002c                    08000300 00000004
     0034                    0c000480 08000100 ffffffff
     0040                    0c000580 08000100 01000000`,
  ],
  [
    'meta skgid 0',
    'meta',
    `0000  24000180 09000100 6d657461 00000000
     0010           14000280 08000200 0000000b
     001c                    08000100 00000001`,
  ],
  [
    'fib saddr type local',
    'fib',
    `0000  28000180 08000100 66696200
     000c           1c000280 08000300 00000001
     0018                    08000200 00000003
     0020                    08000100 00000001`,
  ],
  [
    'fib saddr oif 0',
    'fib',
    `0000  28000180 08000100 66696200
     000c           1c000280 08000300 00000001
     0018                    08000200 00000001
     0020                    08000100 00000001`,
  ],
  [
    'socket transparent 1',
    'socket',
    `0000  2c000180 0b000100 736f636b 65740000
     0010           1c000280 08000100 00000000
     001c                    08000200 00000001
     0024                    08000300 00000000`,
  ],
  [
    'log level warn',
    'log',
    `0000  18000180 08000100 6c6f6700
     000c           0c000280 08000500 00000004`,
  ],
  [
    'log flags all',
    'log',
    `0000  18000180 08000100 6c6f6700
     000c           0c000280 08000600 0000002f`,
  ],
  [
    'limit rate over 10/second',
    'limit',
    `0000  44000180 0a000100 6c696d69 74000000
     0010           34000280 0c000100 00000000 0000000a
     0020                    0c000200 00000000 00000001
     002c                    08000300 00000005
     0034                    08000400 00000000
     003c                    08000500 00000001`,
  ],
  [
    'limit rate 10 kbytes/second',
    'limit',
    `0000  3c000180 0a000100 6c696d69 74000000
     0010           2c000280 0c000100 00000000 00002800
     0020                    0c000200 00000000 00000001
     002c                    08000400 00000001
     0034                    08000500 00000000`,
  ],
  [
    'reject with icmp type host-prohibited',
    'reject',
    `0000  24000180 0b000100 72656a65 63740000
     0010           14000280 08000100 00000000
     001c                    05000200 0a000000`,
  ],
  [
    'reject with icmpx type no-route',
    'reject',
    `0000  24000180 0b000100 72656a65 63740000
     0010           14000280 08000100 00000002
     001c                    05000200 00000000`,
  ],
  [
    'quota over 100 mbytes',
    'quota',
    `0000  34000180 0a000100 71756f74 61000000
     0010           24000280 0c000100 00000000 06400000
     0020                    0c000400 00000000 00000000
     002c                    08000200 00000001`,
  ],
  [
    'queue num 1',
    'queue',
    `0000  24000180 0a000100 71756575 65000000
     0010           14000280 06000100 00010000
     001c                    06000200 00010000`,
  ],
  [
    'update @clients { ip saddr counter }',
    'dynset',
    `0000  4c000180 0b000100 64796e73 65740000
     0010           3c000280 08000400 00000001
     001c                    08000300 00000001
     0024                    0c000100 636c6965 6e747300
     0030                    08000200 00000002
     0038                    14000780 0c000100 636f756e 74657200
     0048                             04000280`,
  ],
  [
    'update @clients { ip saddr limit rate over 5/second }',
    'dynset',
    `0000  7c000180 0b000100 64796e73 65740000
     0010           6c000280 08000400 00000001
     001c                    08000300 00000001
     0024                    0c000100 636c6965 6e747300
     0030                    08000200 00000002
     0038                    44000780 0a000100 6c696d69 74000000
     0048                             34000280 0c000100 00000000 00000005
     0058                                      0c000200 00000000 00000001
     0064                                      08000300 00000005
     006c                                      08000400 00000000
     0074                                      08000500 00000001`,
  ],
  [
    'meta mark set numgen inc mod 2',
    'numgen',
    `0000  34000180 0b000100 6e756d67 656e0000
     0010           24000280 08000100 00000001
     001c                    08000200 00000002
     0024                    08000300 00000000
     002c                    08000400 00000000`,
  ],
  [
    'numgen random mod 2 0',
    'numgen',
    `0000  34000180 0b000100 6e756d67 656e0000
     0010           24000280 08000100 00000001
     001c                    08000200 00000002
     0024                    08000300 00000001
     002c                    08000400 00000000`,
  ],
] as const;

/** The bytes of an attribute list with these expressions, without the header of the list. */
function encode(expressions: Rule['expressions']): Buffer {
  const writer = new AttributeWriter();
  writeExpressions(writer, 4, expressions);
  return writer.finish().subarray(4);
}

const decode = (bytes: Buffer) => readExpressions(new AttributeReader(bytes));

for (const { nft, words, expressions, bytes } of CASES) {
  t.test(`"${nft}" becomes the bytes that nft makes of it`, t => {
    for (const [index, expected] of bytes.entries()) {
      const ours = dump(encode(expressions.slice(index, index + 1)));
      if (typeof expected === 'string') t.strictSame(ours, linesOf(expected));
      else {
        t.strictSame(ours, linesOf(expected.ours), expected.because);
        t.notSame(linesOf(expected.nft), linesOf(expected.ours));
      }
    }
    t.equal(expressions.length, bytes.length);
    t.end();
  });

  t.test(`"${nft}" is read back from the bytes that nft made, and said in its words`, t => {
    const theirs = bytes.map(part => bytesOf(typeof part === 'string' ? part : part.nft));
    t.strictSame(decode(Buffer.concat(theirs)), expressions);
    t.equal(ruleText({ expressions }, SETS), words ?? nft);
    t.end();
  });
}

for (const [nft, name, bytes] of UNKNOWN)
  t.test(`"${nft}", which this program never writes, keeps its name and its bytes`, t => {
    const expressions = decode(bytesOf(bytes));
    t.match(expressions, [{ kind: 'unknown', name }]);
    t.strictSame(dump(encode(expressions)), linesOf(bytes));
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
          raw: bytesOf(`0000  06000100 00160000
                        0008  0f000200 6f70656e 65642073 73680000
                        0018  08000300 00000000
                        0020  06000400 00000000`),
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
          raw: bytesOf(`0000  08000400 00000001
                        0008  08000300 00000002
                        0010  08000900 00000000
                        0018  0c000600 00000000 00000000
                        0024  0c000100 636c6965 6e747300`),
        },
      ]),
    ),
    [{ kind: 'dynset', op: 'delete', set: 'clients', key: KEY }],
  );
  t.strictSame(
    decode(
      encode([
        {
          kind: 'unknown',
          name: 'counter',
          raw: bytesOf(`0000  0c000100 00000000 0000012c
                        000c  0c000200 00000000 00000003`),
        },
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
      assert.deepEqual(dump(encode(decode(bytes))), dump(bytes));
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
    `0000  06000100 74000000
     0008  08000200 00000000
     0010  11000600 000b6b6e 6f636b64 2d6e6674 00000000`,
  ],
  ['delete table inet t', deleteTable('t'), 2, `0000  06000100 74000000`],
  [
    'chain x { }',
    newChain('t', { name: 'x' }),
    3,
    `0000  06000100 74000000
     0008  06000300 78000000`,
  ],
  [
    'chain input { type filter hook input priority -10; policy drop; }',
    newChain('t', { name: 'input', hook: { name: 'input', priority: -10, policy: 'drop' } }),
    3,
    {
      nft: `0000  06000100 74000000
            0008  0a000300 696e7075 74000000
            0014  0b000700 66696c74 65720000
            0020  08000500 00000000
            0028  14000480 08000100 00000001
            0034           08000200 fffffff6`,
      ours: `0000  06000100 74000000
             0008  0a000300 696e7075 74000000
             0014  14000480 08000100 00000001
             0020           08000200 fffffff6
             0028  08000500 00000000
             0030  0b000700 66696c74 65720000`,
      because: ORDER,
    },
  ],
  [
    'delete chain inet t input',
    deleteChain('t', 'input'),
    5,
    `0000  06000100 74000000
     0008  0a000300 696e7075 74000000`,
  ],
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
    `0000  06000100 74000000
     0008  0a000200 696e7075 74000000
     0014  34000480 30000180 0e000100 696d6d65 64696174 65000000
     002c                    1c000280 08000100 00000000
     0038                             10000280 0c000280 08000100 00000001
     0048  20000700 001a6b6e 6f636b64 2d6e6674 20312e30
     005c           2e302033 66326139 63353100`,
  ],
  [
    'flush chain inet t x',
    flushChain('t', 'x'),
    8,
    `0000  06000100 74000000
     0008  06000200 78000000`,
  ],
  [
    'map started { type ipv4_addr : mark; size 65535; flags dynamic,timeout; }',
    newSet('t', STARTED),
    9,
    {
      nft: `0000  06000100 74000000
            0008  0c000200 73746172 74656400
            0014  08000300 00000038
            001c  08000400 00000007
            0024  08000500 00000004
            002c  08000600 00000013
            0034  08000700 00000004
            003c  08000a00 00000001
            0044  0c000980 08000100 0000ffff
            0050  16000d00 00040200 00000104 01000000 06040000
            0064           00000000`,
      ours: `0000  06000100 74000000
             0008  0c000200 73746172 74656400
             0014  08000300 00000038
             001c  08000400 00000007
             0024  08000500 00000004
             002c  08000600 00000013
             0034  08000700 00000004
             003c  08000a00 00000001
             0044  0c000980 08000100 0000ffff
             0050  10000d00 00040200 00000104 01000000`,
      because: FORMAT,
    },
  ],
  [
    'set s6 { type ipv6_addr . inet_service . inet_service; flags timeout; }',
    newSet('t', SESSIONS),
    9,
    {
      nft: `0000  06000100 74000000
            0008  07000200 73360000
            0010  08000300 00000010
            0018  08000400 0000834d
            0020  08000500 00000018
            0028  08000a00 00000002
            0030  14000d00 00040000 00000308 00040d00 00000100`,
      ours: `0000  06000100 74000000
             0008  07000200 73360000
             0010  08000300 00000010
             0018  08000400 0000834d
             0020  08000500 00000018
             0028  08000a00 00000001
             0030  0a000d00 00040000 00000000`,
      because: `${SET_ID}; ${FORMAT}`,
    },
  ],
  [
    'set allowed { type ipv4_addr; flags interval; }',
    newSet('t', ALLOWED),
    9,
    {
      nft: `0000  06000100 74000000
            0008  0c000200 616c6c6f 77656400
            0014  08000300 00000004
            001c  08000400 00000007
            0024  08000500 00000004
            002c  08000a00 00000003
            0034  0a000d00 00040200 00000000`,
      ours: `0000  06000100 74000000
             0008  0c000200 616c6c6f 77656400
             0014  08000300 00000004
             001c  08000400 00000007
             0024  08000500 00000004
             002c  08000a00 00000001
             0034  0a000d00 00040200 00000000`,
      because: SET_ID,
    },
  ],
  [
    'map steps { type mark . inet_proto . inet_service : mark; }',
    newSet('t', STEPS),
    9,
    {
      nft: `0000  06000100 74000000
            0008  0a000200 73746570 73000000
            0014  08000300 00000008
            001c  08000400 0001330d
            0024  08000500 0000000c
            002c  08000600 00000013
            0034  08000700 00000004
            003c  08000a00 00000004
            0044  20000d00 00040000 00000104 01000000 03080004
            0058           0d000000 01000604 00000000`,
      ours: `0000  06000100 74000000
             0008  0a000200 73746570 73000000
             0014  08000300 00000008
             001c  08000400 0001330d
             0024  08000500 0000000c
             002c  08000600 00000013
             0034  08000700 00000004
             003c  08000a00 00000001
             0044  10000d00 00040000 00000104 01000000`,
      because: `${SET_ID}; ${FORMAT}`,
    },
  ],
  [
    'map arrivals { type mark : verdict; }',
    newSet('t', ARRIVALS),
    9,
    {
      nft: `0000  06000100 74000000
            0008  0d000200 61727269 76616c73 00000000
            0018  08000300 00000008
            0020  08000400 00000013
            0028  08000500 00000004
            0030  08000600 ffffff00
            0038  08000700 00000000
            0040  08000a00 00000005
            0048  16000d00 00040100 00000104 00000000 06040000
            005c           00000000`,
      ours: `0000  06000100 74000000
             0008  0d000200 61727269 76616c73 00000000
             0018  08000300 00000008
             0020  08000400 00000013
             0028  08000500 00000004
             0030  08000600 ffffff00
             0038  08000700 00000000
             0040  08000a00 00000001
             0048  10000d00 00040100 00000104 00000000`,
      because: `${SET_ID}; ${FORMAT}`,
    },
  ],
  [
    'delete map inet t arrivals',
    deleteSet('t', ARRIVALS),
    11,
    `0000  06000100 74000000
     0008  0d000200 61727269 76616c73 00000000`,
  ],
  [
    'delete set inet t s6',
    deleteSet('t', SESSIONS),
    11,
    `0000  06000100 74000000
     0008  07000200 73360000`,
  ],
  [
    'elements = { 2001:db8::1 . 1000 . 22 timeout 24h expires 1h }',
    only(
      newElements('t', SESSIONS, [
        {
          key: hex('20010db8 00000000 00000000 00000001 03e80000 00160000'),
          timeout: 86_400_000,
          expires: 3_600_000,
        },
      ]),
    ),
    12,
    {
      nft: `0000  06000100 74000000
            0008  07000200 73360000
            0010  08000400 00000002
            0018  40000380 3c000180 0c000400 00000000 05265c00
            002c                    0c000500 00000000 0036ee80
            0038                    20000180 1c000100 20010db8 00000000 00000000 00000001
            0050                                      03e80000 00160000`,
      ours: `0000  06000100 74000000
             0008  07000200 73360000
             0010  40000380 3c000180 0c000400 00000000 05265c00
             0024                    0c000500 00000000 0036ee80
             0030                    20000180 1c000100 20010db8 00000000 00000000 00000001
             0048                                      03e80000 00160000`,
      because: SET_ID,
    },
  ],
  [
    'elements = { 10.0.0.0/8, 192.0.2.7, 224.0.0.0/3 }',
    only(newElements('t', ALLOWED, RANGES)),
    12,
    {
      nft: `0000  06000100 74000000
            0008  0c000200 616c6c6f 77656400
            0014  08000400 00000003
            001c  88000380 18000180 08000300 00000001
            002c                    0c000180 08000100 00000000
            0038           10000280 0c000180 08000100 0a000000
            0048           18000380 08000300 00000001
            0054                    0c000180 08000100 0b000000
            0060           10000480 0c000180 08000100 c0000207
            0070           18000580 08000300 00000001
            007c                    0c000180 08000100 c0000208
            0088           1c000680 0c000180 08000100 e0000000
            0098                    0a000600 01040100 00000000`,
      ours: `0000  06000100 74000000
             0008  0c000200 616c6c6f 77656400
             0014  88000380 18000180 08000300 00000001
             0024                    0c000180 08000100 00000000
             0030           10000180 0c000180 08000100 0a000000
             0040           18000180 08000300 00000001
             004c                    0c000180 08000100 0b000000
             0058           10000180 0c000180 08000100 c0000207
             0068           18000180 08000300 00000001
             0074                    0c000180 08000100 c0000208
             0080           1c000180 0c000180 08000100 e0000000
             0090                    0a000600 01040100 00000000`,
      because: `${SET_ID}; the elements of a list are all of type 1 here, while nft counts them`,
    },
  ],
  [
    'elements = { 1 . tcp . 2345 comment "ssh 2/4" : 2 }',
    only(newElements('t', STEPS, [STEP])),
    12,
    {
      nft: `0000  06000100 74000000
            0008  0a000200 73746570 73000000
            0014  08000400 00000004
            001c  38000380 34000180 14000180 10000100 01000000 06000000 09290000
            0038                    0c000280 08000100 02000000
            0044                    0e000600 00087373 6820322f 34000000`,
      ours: `0000  06000100 74000000
             0008  0a000200 73746570 73000000
             0014  38000380 34000180 14000180 10000100 01000000 06000000 09290000
             0030                    0c000280 08000100 02000000
             003c                    0e000600 00087373 6820322f 34000000`,
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
      nft: `0000  06000100 74000000
            0008  0d000200 61727269 76616c73 00000000
            0018  08000400 00000005
            0020  4c000380 20000180 0c000180 08000100 00000000
            0034                    10000280 0c000280 08000100 fffffffb
            0044           28000280 0c000180 08000100 01000000
            0054                    18000280 14000280 08000100 fffffffc
            0064                                      06000200 78000000`,
      ours: `0000  06000100 74000000
             0008  0d000200 61727269 76616c73 00000000
             0018  4c000380 20000180 0c000180 08000100 00000000
             002c                    10000280 0c000280 08000100 fffffffb
             003c           28000180 0c000180 08000100 01000000
             004c                    18000280 14000280 08000100 fffffffc
             005c                                      06000200 78000000`,
      because: `${SET_ID}; the elements of a list are all of type 1 here, while nft counts them`,
    },
  ],
  [
    'delete element inet t steps { 1 . tcp . 2345 }',
    only(deleteElements('t', STEPS, [STEP])),
    14,
    `0000  06000100 74000000
     0008  0a000200 73746570 73000000
     0014  1c000380 18000180 14000180 10000100 01000000 06000000 09290000`,
  ],
  [
    'counter c { packets 3 bytes 300 }',
    newCounter('t', { name: 'c', packets: 3, bytes: 300 }),
    18,
    `0000  06000100 74000000
     0008  06000200 63000000
     0010  08000300 00000001
     0018  1c000480 0c000100 00000000 0000012c
     0028           0c000200 00000000 00000003`,
  ],
  [
    'delete counter inet t c',
    deleteCounter('t', 'c'),
    20,
    {
      nft: `0000  06000100 74000000
            0008  06000200 63000000
            0010  08000300 00000001
            0018  04000480`,
      ours: `0000  06000100 74000000
             0008  06000200 63000000
             0010  08000300 00000001`,
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
    const ours = dump(attributesOf(message));
    if (typeof bytes === 'string') t.strictSame(ours, linesOf(bytes));
    else {
      t.strictSame(ours, linesOf(bytes.ours), bytes.because);
      t.notSame(linesOf(bytes.nft), linesOf(bytes.ours));
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
  return new AttributeReader(bytesOf(typeof bytes === 'string' ? bytes : bytes.nft));
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
    {
      key: hex('20010db8 00000000 00000000 00000001 03e80000 00160000'),
      timeout: 86_400_000,
      expires: 3_600_000,
    },
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
