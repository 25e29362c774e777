/** Whole messages beside those that nft 1.0.6 sends for the same words, taken as in cases.ts. */
import t from 'tap';
import { AttributeReader } from '../../src/netlink/attributes.ts';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import { decodeChain, deleteChain, newChain } from '../../src/nftables/chain.ts';
import { DATATYPES } from '../../src/nftables/datatype.ts';
import { decodeElements, deleteElements, newElements } from '../../src/nftables/element.ts';
import { prefixElements } from '../../src/nftables/interval.ts';
import { decodeCounter, deleteCounter, newCounter } from '../../src/nftables/named-counter.ts';
import { VERDICT } from '../../src/nftables/register.ts';
import { decodeRule, flushChain, newRule } from '../../src/nftables/rule.ts';
import type { NftSet } from '../../src/nftables/ruleset.ts';
import { decodeSet, deleteSet, newSet } from '../../src/nftables/set.ts';
import { decodeTable, deleteTable, newTable } from '../../src/nftables/table.ts';
import { bytesOf, dump, linesOf } from '../dump.ts';
import { type Difference, FORMAT, hex, ORDER, SET_ID } from './cases.ts';
import { attributesOf } from './message.ts';

const { ipv4_addr, ipv6_addr, mark, inet_proto, inet_service } = DATATYPES;

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
