import { NF_IP_PRI } from '../inet/netfilter.ts';
import { type Connection, wholeDump } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { attributesOf, requestOf } from '../netlink/nfnetlink.ts';
import { newChain } from '../nftables/chain.ts';
import type { Change } from '../nftables/change.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import type { Expression } from '../nftables/expression.ts';
import { FEATURES, featureText, isOlder } from '../nftables/feature.ts';
import { newCounter } from '../nftables/named-counter.ts';
import { newRule } from '../nftables/rule.ts';
import { newSet } from '../nftables/set.ts';
import { decodeTable, deleteTable, getTables, newTable } from '../nftables/table.ts';
import { ANY_GENERATION, commit } from '../nftables/transaction.ts';
import * as elements from '../ruleset/elements.ts';
import * as match from '../ruleset/match.ts';
import { MARK } from '../ruleset/names.ts';
import { CannotChangeError } from './errors.ts';

const TABLE = `knockd_nft_probe_${process.pid}`;
const COUNTER = 'probe';
const SET = {
  name: 'probe',
  types: [DATATYPES.ipv4_addr],
  size: 1,
  dynamic: true,
  timeout: true,
  interval: false,
} as const;

/** A rule for each kind of expression that a kernel may lack. */
const PROBES: readonly (readonly [kind: keyof typeof FEATURES, expressions: readonly Expression[]])[] = [
  ['ct', match.ctState('established')],
  ['fib', match.notToUs],
  ['socket', match.someoneListens],
  ['objref', match.count(COUNTER)],
  ['limit', [{ kind: 'limit', rate: 1, unit: 'second', burst: 1 }]],
  ['log', [{ kind: 'log', prefix: 'probe', group: 0 }]],
  ['reject', [...match.protocol('tcp'), { kind: 'reject', with: 'tcp reset' }]],
  [
    'dynset',
    [
      ...match.family('ipv4'),
      ...elements.change({ family: 'ipv4', length: 32 }, { op: 'delete', set: SET.name }),
    ],
  ],
];

/**
 * The features of our tables that the kernel lacks, in words. We ask with transactions that have no end. The kernel checks
 * them like any other and then drops them, so nothing of them ever takes effect.
 */
export async function probe(connection: Connection): Promise<string[]> {
  const refused = async (probes: typeof PROBES): Promise<NetlinkError | undefined> => {
    try {
      await commit(connection, changes(probes), { generation: ANY_GENERATION, dryRun: true });
      return undefined;
    } catch (error) {
      if (error instanceof NetlinkError) return error;
      throw error;
    }
  };
  // each transaction costs the kernel some milliseconds, and nearly every kernel has all features
  if (!(await refused(PROBES))) return [];
  const without = await refused([]);
  if (without) return [`${featureText(FEATURES.inet)}: ${without.message}`];
  const lacking: string[] = [];
  for (const one of PROBES) if (await refused([one])) lacking.push(featureText(FEATURES[one[0]]));
  return lacking;
}

function changes(probes: typeof PROBES): Change[] {
  const hook = { name: 'prerouting', priority: NF_IP_PRI.mangle, policy: 'accept' } as const;
  return [
    newTable({ name: TABLE, comment: undefined }),
    newCounter(TABLE, { name: COUNTER, packets: 0, bytes: 0 }),
    newSet(TABLE, SET),
    newChain(TABLE, { name: 'probe', hook }),
    ...probes.map(([, expressions], index) => newRule(TABLE, 'probe', { expressions }, index + 1)),
  ];
}

/**
 * Throws {@link CannotChangeError} if the kernel forgets a table's comment, since we would not know our table again. It
 * tries only kernels whose `release` is older than those that keep comments, with a table that is there for a moment.
 */
export async function refuseForgetful(connection: Connection, release: string): Promise<void> {
  const { since } = FEATURES.comment;
  if (!isOlder(release, since)) return;
  if (!(await keepsComments(connection)))
    throw new CannotChangeError(
      `Linux ${release} forgets the comments of tables, by which knockd-nft knows its own: Linux ${since} or newer is needed; nothing was changed`,
    );
}

async function keepsComments(connection: Connection): Promise<boolean> {
  await commit(connection, [newTable({ name: TABLE, comment: MARK })], { generation: ANY_GENERATION });
  try {
    const replies = await wholeDump(connection, requestOf(getTables));
    const tables = replies.map(({ payload }) => decodeTable(attributesOf(payload)));
    return tables.some(({ name, comment }) => name === TABLE && comment === MARK);
  } finally {
    await commit(connection, [deleteTable(TABLE)], { generation: ANY_GENERATION });
  }
}
