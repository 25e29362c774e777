/** Verdicts: `immediate`. */
import { testCases } from '../cases.ts';

testCases([
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
]);
