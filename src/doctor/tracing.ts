import { setImmediate as immediate } from 'node:timers/promises';
import type { Network } from '../inet/network.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { attributesOf } from '../netlink/nfnetlink.ts';
import { NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';
import { newChain } from '../nftables/chain.ts';
import type { Change } from '../nftables/change.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import { newElements } from '../nftables/element.ts';
import type { Expression } from '../nftables/expression.ts';
import { KEY } from '../nftables/register.ts';
import { newRule } from '../nftables/rule.ts';
import type { Table } from '../nftables/ruleset.ts';
import { newSet } from '../nftables/set.ts';
import { decodeTable, deleteTable, getTables, newTable } from '../nftables/table.ts';
import { decodeTraces, NFNLGRP_NFTRACE, type Trace } from '../nftables/trace.ts';
import { ANY_GENERATION, commit } from '../nftables/transaction.ts';
import * as elements from '../ruleset/elements.ts';
import * as match from '../ruleset/match.ts';
import { TRACE_MARK, TRACE_TABLE } from '../ruleset/names.ts';
import { CannotChangeError } from '../table/errors.ts';
import { dump } from '../table/read.ts';

/** Before all other chains, and before fragments are put together. */
const PRIORITY = -0x8000_0000;
/** Packets a second. A client that knocks and connects sends a handful, and a flood must not overwhelm the reader. */
const RATE = 20;
/** After this time without a report, in milliseconds, those of a packet are complete. They come while the kernel handles it. */
const QUIET = 250;

const SET = { dynamic: false, timeout: true, interval: false } as const;

/**
 * Makes the kernel trace new packets of an address, and the answers to them, for `milliseconds`. Yields the traces that
 * came since the last time, and an empty list after each pause.
 *
 * It needs a table of its own. The kernel removes that when our socket closes, however this process ends (the flag `owner`,
 * Linux 5.12). Older kernels keep it after SIGKILL, but the only element of its set expires, so nothing is traced. The next
 * run removes it.
 */
export async function* tracing(
  connection: Connection,
  address: Network,
  milliseconds: number,
  signal: AbortSignal,
): AsyncGenerator<readonly Trace[]> {
  const before = await ownTable(connection);
  const socket = openSocket(NETLINK_NETFILTER, NFNLGRP_NFTRACE);
  let came: Trace[] = [];
  let wake = () => {};
  socket.onDatagram(datagram => {
    const traces = decodeTraces(datagram);
    came.push(...traces);
    if (traces.length > 0) wake();
  });
  signal.addEventListener('abort', () => wake(), { once: true });
  try {
    await makeTable(connection, before, address, milliseconds);
    const end = performance.now() + milliseconds;
    while (!signal.aborted && performance.now() < end) {
      if (came.length === 0)
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, Math.min(QUIET, end - performance.now()));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      const now = came;
      came = [];
      yield now;
    }
    await immediate(); // the kernel may have told more by now
    yield came;
  } finally {
    socket.close();
    await commit(connection, [deleteTable(TRACE_TABLE)], { generation: ANY_GENERATION }).catch(gone);
  }
}

/** Accepts that the table is gone, because another program flushed the ruleset, or it was never made. */
function gone(error: unknown): void {
  if (!(error instanceof NetlinkError && error.code === 'ENOENT')) throw error;
}

/** The table that an earlier run left. Throws if it is not ours to replace. */
async function ownTable(connection: Connection): Promise<Table | undefined> {
  const tables = await dump(connection, getTables);
  const found = tables
    .map(({ payload }) => decodeTable(attributesOf(payload)))
    .find(({ name }) => name === TRACE_TABLE);
  if (found && found.comment !== TRACE_MARK)
    throw new CannotChangeError(
      `table inet ${TRACE_TABLE} exists and is not ours: it is left alone; delete it to trace`,
    );
  if (found?.owner)
    throw new CannotChangeError('another doctor --trace runs: wait until it ends, or end it with Ctrl-C');
  return found;
}

async function makeTable(
  connection: Connection,
  before: Table | undefined,
  address: Network,
  milliseconds: number,
): Promise<void> {
  const make = (owner: boolean) =>
    commit(
      connection,
      [...(before ? [deleteTable(TRACE_TABLE)] : []), ...tableMessages(owner, address, milliseconds)],
      { generation: ANY_GENERATION },
    );
  try {
    await make(true);
  } catch (error) {
    // before Linux 5.12
    if (!(error instanceof NetlinkError && (error.code === 'EINVAL' || error.code === 'EOPNOTSUPP')))
      throw error;
    await make(false);
  }
}

function tableMessages(owner: boolean, { family, address, length }: Network, milliseconds: number): Change[] {
  const set = { name: `traced_${family}`, types: [DATATYPES[`${family}_addr`]], ...SET };
  const hook = { priority: PRIORITY, policy: 'accept' } as const;
  const limit = { kind: 'limit', rate: RATE, unit: 'second', burst: RATE } as const;
  const chain = (name: 'prerouting' | 'output', rules: readonly (readonly Expression[])[]) => [
    newChain(TRACE_TABLE, { name, hook: { ...hook, name } }),
    ...rules.map((expressions, index) =>
      newRule(TRACE_TABLE, name, { expressions: [...expressions, limit, ...traced] }, index + 1),
    ),
  ];
  const from = elements.clientIn({ family, length }, set.name);
  return [
    newTable({ name: TRACE_TABLE, comment: TRACE_MARK, ...(owner && { owner }) }),
    newSet(TRACE_TABLE, set),
    ...newElements(TRACE_TABLE, set, [{ key: Buffer.from(address), timeout: milliseconds }]),
    ...chain('prerouting', [
      [...from, ...match.tcpOpens],
      [...from, ...match.protocol('udp')],
    ]),
    ...chain('output', [[...elements.addressedTo(family, set.name), ...match.tcpAgrees]]),
  ];
}

/** `meta nftrace set 1` */
const traced: readonly Expression[] = [
  { kind: 'immediate', dreg: KEY, value: Buffer.from([1]) },
  { kind: 'meta', key: 'nftrace', sreg: KEY },
];
