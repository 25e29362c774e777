import type { Config, Service } from '../config/types.ts';
import type { Bits } from '../firewalls/bits.ts';
import { type Destination, Foresight } from '../firewalls/foresight.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { Interface } from '../firewalls/packet.ts';
import { type ForeignTable, tableName } from '../firewalls/table.ts';
import type { Unseen } from '../firewalls/unseen.ts';
import type { Fate } from '../firewalls/walk.ts';
import type { Family } from '../inet/family.ts';
import { NF_IP_PRI } from '../inet/netfilter.ts';
import { formatPortRange, type PortRange } from '../inet/port.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import type { HostFacts } from './facts.ts';

/** The interfaces that clients' packets may come in by, and the tables that they pass. */
export interface Surroundings {
  readonly tables: readonly ForeignTable[];
  /** What else packets pass. */
  readonly unseen: readonly Unseen[];
  readonly ways: readonly Interface[];
  readonly families: readonly Family[];
  readonly foresight: Foresight;
}

export function surroundings(
  { ways, families }: Pick<HostFacts, 'ways' | 'families'>,
  { tables, unseen }: Pick<Surroundings, 'tables' | 'unseen'>,
): Surroundings {
  return { tables, unseen, ways, families, foresight: new Foresight(tables) };
}

/** A range of guarded ports of a service. */
export interface Guarded {
  readonly service: Service;
  readonly range: PortRange;
}

export function guardedRanges({ services }: Config): Guarded[] {
  return services.flatMap(service => service.ports.map(range => ({ service, range })));
}

/** Whether the file guards anything. We assume that a file that cannot be used does. */
export function guardsPorts(config: Config | undefined): boolean {
  return !config || config.policy === 'drop' || guardedRanges(config).length > 0;
}

/** The effect of a chain on clients: it lets them in, keeps out all or all but some, or we cannot tell. */
export type Doorman = 'in' | 'some' | 'unknown' | 'out';

/** The least important first: a client that comes in one way does not need the others. */
const DOORMEN: readonly Doorman[] = ['in', 'some', 'unknown', 'out'];

/** The effect of other programs' tables on a client's first packet to a port, by any interface. */
export interface Passage {
  /** One for each base chain, with the doorman of the best way in. */
  readonly visits: readonly (Visit & { readonly doorman: Doorman })[];
  /** The visit that changes its destination before it is delivered. */
  readonly translation: Visit | undefined;
  /** Where TPROXY may give it to the socket of another port. */
  readonly leads: readonly { readonly visit: Visit; readonly port: Bits }[];
  /** A visit that may change it, but we cannot tell: with a random target, or only for some clients. */
  readonly mayTranslate: Visit | undefined;
}

export function passage({ ways, foresight }: Surroundings, to: Destination): Passage {
  const best = new Map<string, Visit & { doorman: Doorman }>();
  let translation: Visit | undefined;
  let mayTranslate: Visit | undefined;
  const leads: { visit: Visit; port: Bits }[] = [];
  for (const way of ways.filter(({ addresses }) => addresses[to.family])) {
    const arrival = foresight.arrival(to, way);
    translation ??= arrival.translation;
    mayTranslate ??= arrival.visits.find(({ ruling, possible }) => !ruling.to && possible.has('translate'));
    for (const visit of arrival.visits) {
      leads.push(...visit.leads.map(port => ({ visit, port })));
      const doorman = doormanOf(visit);
      const known = best.get(chainName(visit));
      if (!known || DOORMEN.indexOf(doorman) < DOORMEN.indexOf(known.doorman))
        best.set(chainName(visit), { ...visit, doorman });
    }
  }
  return { visits: [...best.values()], translation, leads, mayTranslate };
}

/** Our findings about an end of a guarded range, in one family. */
export interface Crossing {
  readonly guarded: Guarded;
  readonly family: Family;
  readonly passage: Passage;
  /** The visits of the host's answers to chains. */
  readonly answers: readonly Visit[];
}

/** Takes clients to all guarded ports, in all families. */
export function crossings(config: Config, around: Surroundings): Crossing[] {
  const [way] = around.ways;
  return guardedRanges(config).flatMap(guarded =>
    around.families.flatMap(family =>
      [...new Set([guarded.range.first, guarded.range.last])].map(port => {
        const to = { family, protocol: guarded.range.protocol, port };
        const answers = way ? around.foresight.answers(to, way) : [];
        return { guarded, family, passage: passage(around, to), answers };
      }),
    ),
  );
}

function doormanOf({ ruling, possible }: Visit): Doorman {
  const lets = (fate: Fate) => fate === 'accept' || fate === 'translate' || fate === 'proxy';
  if ([...possible].every(lets)) return 'in';
  if (ruling.fate === 'unknown') return 'unknown';
  if (lets(ruling.fate)) return 'in';
  return [...possible].some(lets) ? 'some' : 'out';
}

/** Whether packets may reach a chain behind our guard, which looked at the port that they had before. */
export function isBehind(config: Config, { chain: { hook } }: Visit): boolean {
  if (config.hook === 'prerouting') return hook.name !== 'prerouting' || hook.priority >= NF_IP_PRI.mangle;
  return hook.name === 'input' && hook.priority >= config.priority;
}

/** Whether packets reach a chain before ours at input. For two chains of the same priority we cannot tell. */
export function isBefore({ priority }: Config, { chain: { hook } }: Visit): boolean {
  return hook.name === 'prerouting' || hook.priority < priority;
}

/** `table inet filter, chain input` */
export function chainName({ table, chain }: Visit): string {
  return `table ${tableName(table)}, chain ${chain.name}`;
}

/** `22/tcp (ssh)` */
export function guardedText({ service, range }: Guarded): string {
  return `${formatPortRange(range)} (${service.name})`;
}

/** The address that packets are sent on to: `10.0.0.2:80`, `port 8080`. */
export function addressText({ ruling }: Visit): string {
  const { address, port, local } = ruling.to ?? {};
  if (local || !address) return port ? `port ${port.likely.readUInt16BE(0)}` : 'another port';
  const host = hostText(address.likely);
  const brackets = host.includes(':') ? `[${host}]` : host;
  return port ? `${brackets}:${port.likely.readUInt16BE(0)}` : brackets;
}

/** `10.0.0.2`, `fd00::2` */
export function hostText(address: Buffer): string {
  return DATATYPES[address.length === 4 ? 'ipv4_addr' : 'ipv6_addr'].text(address);
}
