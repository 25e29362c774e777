import type { ForeignTable } from '../firewalls/table.ts';
import { FAMILIES } from '../inet/family.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { requestOf } from '../netlink/nfnetlink.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import { getElement } from '../nftables/element.ts';
import { byName } from '../nftables/ruleset.ts';
import { TABLE_FAMILY } from '../nftables/table.ts';
import { clientsOf } from '../ruleset/client.ts';
import { names } from '../ruleset/names.ts';
import { decompile } from '../ruleset/program.ts';
import { type Kernel, withState } from '../table/read.ts';
import type { ClientIn } from './facts.ts';
import { listName } from './kept-out.ts';

/** More clients than a host has people. A full set must not keep the other checks waiting. */
const MOST = 1000;

/** The clients that are in now, at most {@link MOST}, and the long lists of other programs that hold them. */
export async function readClients(
  connection: Connection,
  { ours }: Kernel,
  tables: readonly ForeignTable[],
): Promise<ClientIn[]> {
  const clients: Omit<ClientIn, 'lists'>[] = [];
  for (const ruleset of ours) {
    const { services, prefix } = decompile(ruleset);
    const wanted = new Set(
      [...services.keys()].flatMap(service => FAMILIES.map(family => names.clients(service, family))),
    );
    const { sets } = await withState(connection, ruleset, name => wanted.has(name));
    const there = byName(sets);
    for (const [service, { ports }] of services)
      for (const { family, element } of clientsOf(there, service))
        if (!element.all)
          clients.push({ service, ports, family, address: element.key, length: prefix[family] });
  }
  const found: ClientIn[] = [];
  for (const client of clients.slice(0, MOST))
    found.push({ ...client, lists: await listsWith(client.address, connection, tables) });
  return found;
}

async function listsWith(
  address: Buffer,
  connection: Connection,
  tables: readonly ForeignTable[],
): Promise<string[]> {
  const type = address.length === 4 ? DATATYPES.ipv4_addr : DATATYPES.ipv6_addr;
  const found: string[] = [];
  for (const table of tables)
    for (const { name, types, elements } of table.sets.values()) {
      if (elements !== undefined || types.length !== 1 || types[0] !== type) continue;
      const message = getElement(table.name, name, address);
      const refusal = await connection.request(requestOf(message, TABLE_FAMILY[table.family])).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refusal === undefined) found.push(listName(table, name));
      else if (!(refusal instanceof NetlinkError)) throw refusal;
    }
  return found;
}
