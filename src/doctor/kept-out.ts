import { pass, type Visit } from '../firewalls/journey.ts';
import { arriving, type Interface, type Packet } from '../firewalls/packet.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import { type Family, familyOf } from '../inet/family.ts';
import { SOURCE_OFFSET } from '../inet/header.ts';
import { formatNetwork } from '../inet/network.ts';
import type { PortRange } from '../inet/port.ts';
import { shellWord } from '../terminal/shell.ts';
import type { ClientIn } from './facts.ts';
import { type Finding, list } from './finding.ts';
import { makerOf } from './mend.ts';
import { type Crossing, chainName, type Surroundings } from './passage.ts';

/** A client that our table lets in, and another program's chain that stops it. */
interface Stopped {
  readonly client: ClientIn;
  readonly stop: Visit;
}

/**
 * Clients that are in, but that another program keeps out, mostly by a list of banned addresses. Other checks report a
 * chain that keeps all clients out.
 */
export function keptOut(
  clients: readonly ClientIn[],
  around: Surroundings,
  crossings: readonly Crossing[],
): Finding[] {
  const groups = new Map<string, Stopped[]>();
  for (const client of clients) {
    const stop = stopOf(client, around);
    if (!stop || isForAll(client, stop, crossings)) continue;
    const key = `${chainName(stop)} ${placeOf(stop)}`;
    const group = groups.get(key) ?? [];
    if (!group.some(it => it.client.address.equals(client.address)))
      groups.set(key, [...group, { client, stop }]);
  }
  return [...groups.values()].flatMap(finding);
}

/** The chain that stops the client; undefined if some way leads to one of its ports, or if we cannot tell. */
function stopOf({ family, ports, ...client }: ClientIn, { tables, ways }: Surroundings): Visit | undefined {
  const possible = ways.filter(({ addresses }) => addresses[family]);
  const seen = tables.map(table => withLists(table, client));
  const stops = ports.flatMap(range => possible.map(way => stopAt(seen, from(client, family, range, way))));
  return stops.every(stop => stop !== undefined) ? stops[0] : undefined;
}

function stopAt(tables: readonly ForeignTable[], packet: Packet): Visit | undefined {
  const before = pass(tables, 'prerouting', packet);
  const after = before.packet.local ? pass(tables, 'input', before.packet).visits : [];
  return [...before.visits, ...after].find(({ ruling: { fate } }) => fate === 'drop' || fate === 'reject');
}

/** The first packet of a client. We know the first `length` bits of its address. */
function from(
  { address, length }: Pick<ClientIn, 'address' | 'length'>,
  family: Family,
  { protocol, first }: PortRange,
  way: Interface,
): Packet {
  const packet = arriving({ family, protocol, port: first }, way);
  const likely = Buffer.from(packet.network.likely);
  const sure = Buffer.from(packet.network.sure);
  address.copy(likely, SOURCE_OFFSET[family]);
  for (let bit = 0; bit < length; bit++) {
    const at = SOURCE_OFFSET[family] + (bit >> 3);
    sure[at] = (sure[at] ?? 0) | (0x80 >> (bit & 7));
  }
  return { ...packet, network: { ...packet.network, likely, sure } };
}

/** The table with a stand-in for each set that was too large to be read, with this client if the set holds it. */
function withLists(
  table: ForeignTable,
  { address, lists }: Pick<ClientIn, 'address' | 'lists'>,
): ForeignTable {
  const sets = [...table.sets].map(([name, set]): [string, typeof set] => {
    if (set.elements !== undefined || set.types.length !== 1) return [name, set];
    const elements = lists.includes(listName(table, name)) ? [{ key: address }] : [];
    return [name, { ...set, elements }];
  });
  return { ...table, sets: new Map(sets) };
}

/** `inet f2b-table addr-set-sshd` */
export function listName({ family, name }: Pick<ForeignTable, 'family' | 'name'>, set: string): string {
  return `${family} ${name} ${set}`;
}

function isForAll({ service, family }: ClientIn, stop: Visit, crossings: readonly Crossing[]): boolean {
  return crossings.some(
    it =>
      it.guarded.service.name === service &&
      it.family === family &&
      it.passage.visits.some(visit => visit.doorman === 'out' && chainName(visit) === chainName(stop)),
  );
}

/** The name of the chain with the rule. The base chain leads there. */
function chainOf({ table, chain, ruling: { rule } }: Visit): string {
  const found = [...table.chains].find(([, { rules }]) => rule !== undefined && rules.includes(rule));
  return found?.[0] ?? chain.name;
}

function setOf({ ruling: { rule } }: Visit): string | undefined {
  return rule?.expressions.flatMap(it =>
    it.kind === 'lookup' && !it.set.startsWith('__') ? [it.set] : [],
  )[0];
}

/** `rule 2, by set blocklist`, `rule 1 of chain f2b-sshd`, `its policy` */
function placeOf(stop: Visit): string {
  const { table, chain, ruling } = stop;
  if (!ruling.rule) return 'its policy';
  const name = chainOf(stop);
  const number = (table.chains.get(name)?.rules.indexOf(ruling.rule) ?? 0) + 1;
  const set = setOf(stop);
  return `rule ${number}${name === chain.name ? '' : ` of chain ${name}`}${set ? `, by set ${set}` : ''}`;
}

function finding(group: readonly Stopped[]): Finding[] {
  const [first] = group;
  if (!first) return [];
  const { stop } = first;
  const names = group.map(({ client }) => clientName(client));
  const one = names.length === 1;
  return [
    {
      id: 'client-kept-out',
      severity: 'broken',
      what: `${list(names)} ${one ? 'is' : 'are'} in, and ${chainName(stop)} ${stop.ruling.fate}s ${one ? 'it' : 'them'} (${placeOf(stop)})`,
      why: 'a client that knocks correctly from there does not get in: another table may drop what ours accepts',
      mend: [...new Set(group.map(mendOf))].join(' && '),
    },
  ];
}

function clientName({ address, length }: ClientIn): string {
  return formatNetwork({ family: familyOf(address), address, length });
}

/** fail2ban's names for sets and chains, with the jail. */
const FAIL2BAN = /^(?:addr6?-set|f2b)-(?!chain$|table$)(.+)$/;

function mendOf({ client, stop }: Stopped): string {
  const { table } = stop;
  const [set, chain, address] = [setOf(stop), chainOf(stop), clientName(client)];
  const [, jail] = FAIL2BAN.exec(set ?? '') ?? FAIL2BAN.exec(chain) ?? [];
  if (jail !== undefined) return `fail2ban-client set ${shellWord(jail)} unbanip ${address}`;
  const place = `${table.family} ${shellWord(table.name)}`;
  const elements = set === undefined ? undefined : table.sets.get(set);
  if (set !== undefined && elements && !elements.interval && elements.types.length === 1)
    return `nft delete element ${place} ${shellWord(set)} '{ ${address} }'`;
  const maker = makerOf(stop);
  return maker.is === 'iptables'
    ? `${maker.command} -S ${shellWord(chain)}  # has the rule for ${address}`
    : `nft -a list table ${place}  # has the rule, or the element, for ${address}`;
}
