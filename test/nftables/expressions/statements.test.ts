/** Statements of a rule beside its verdict: `counter`, `objref`, `limit`, `log` and `reject`. */
import { KEY } from '../../../src/nftables/register.ts';
import { hex, NUL, testCases } from '../cases.ts';

testCases([
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
]);
