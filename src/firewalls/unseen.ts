import type { Connection, Reply } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { readHooks } from '../netlink/route.ts';
import { decodeChain, getChains } from '../nftables/chain.ts';
import type { Expression } from '../nftables/expression.ts';
import { decodeFlowtable, getFlowtables } from '../nftables/flowtable.ts';
import { TABLE_FAMILY } from '../nftables/table.ts';
import { dump } from '../table/read.ts';
import { readRules, understood } from './read.ts';

/** Something that packets pass, and that we do not look into. */
export interface Unseen {
  /** `table netdev filter, chain ingress`, `XDP on eth0` */
  readonly what: string;
  /** The command that shows it. */
  readonly show: string;
}

/**
 * The parts that packets pass besides the chains at prerouting, input and output: chains of devices and bridges,
 * flowtables, XDP and tc. `routes` is a connection of family NETLINK_ROUTE.
 */
export async function readUnseen(connection: Connection, routes: Connection): Promise<Unseen[]> {
  const found: Unseen[] = [];
  for (const family of ['inet', 'netdev', 'bridge'] as const) {
    const number = TABLE_FAMILY[family];
    for (const { table, name, hook } of understood(await dump(connection, getChains, number), decodeChain))
      if (hook && (family !== 'inet' || hook.name === 'ingress'))
        found.push({
          what: `table ${family} ${table}, chain ${name}`,
          show: `nft list chain ${family} ${table} ${name}`,
        });
    for (const { table, name } of understood(await dumpOrNone(connection, number), decodeFlowtable))
      found.push({
        what: `table ${family} ${table}, flowtable ${name}`,
        show: `nft list flowtable ${family} ${table} ${name}`,
      });
  }
  for (const { interface: name, program } of await readHooks(routes))
    found.push(
      program === 'XDP'
        ? { what: `XDP on ${name}`, show: `ip link show dev ${name}` }
        : { what: `tc on ${name}`, show: `tc filter show dev ${name} ingress` },
    );
  return found;
}

/** Tables of family `bridge` whose rules ask `ct`. For these the kernel tracks frames that are only bridged. */
export async function readTrackingBridges(connection: Connection): Promise<string[]> {
  const { bridge } = TABLE_FAMILY;
  const chains = understood(await dump(connection, getChains, bridge), decodeChain);
  const found: string[] = [];
  for (const table of new Set(chains.map(chain => chain.table))) {
    const rules = [...(await readRules(connection, table, bridge)).values()].flat();
    if (rules.some(({ expressions }) => expressions.some(asksTracking))) found.push(table);
  }
  return found;
}

function asksTracking(expression: Expression): boolean {
  return expression.kind === 'ct' || (expression.kind === 'unknown' && expression.name === 'ct');
}

/** The flowtables. Kernels without them do not know the request. */
async function dumpOrNone(connection: Connection, family: number): Promise<Reply[]> {
  try {
    return await dump(connection, getFlowtables, family);
  } catch (error) {
    if (error instanceof NetlinkError && error.code !== 'EPERM') return [];
    throw error;
  }
}
