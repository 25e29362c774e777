import { formatPortRange } from '../config/ports.ts';
import type { Config, Family, PortRange, Service } from '../config/types.ts';
import { type Destination, Foresight } from '../firewalls/foresight.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { Interface } from '../firewalls/packet.ts';
import { type ForeignTable, tableName } from '../firewalls/table.ts';
import type { Unseen } from '../firewalls/unseen.ts';
import type { Fate } from '../firewalls/walk.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import type { HostFacts } from './facts.ts';

/** Where packets of clients may come from, and what they go through. */
export interface Surroundings {
  readonly tables: readonly ForeignTable[];
  /** What packets meet besides them. */
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

/** A guarded port, or both ends of a range of them. */
export interface Guarded {
  readonly service: Service;
  readonly range: PortRange;
}

export function guardedRanges({ services }: Config): Guarded[] {
  return services.flatMap(service => service.ports.map(range => ({ service, range })));
}

/** What a chain does with clients: lets them in, keeps all out or all but some, or nobody can tell. */
export type Doorman = 'in' | 'some' | 'unknown' | 'out';

/** From the one that matters least: a client that comes in one way does not need the others. */
const DOORMEN: readonly Doorman[] = ['in', 'some', 'unknown', 'out'];

/** What the tables of others do with the first packet of a client to a port, wherever it may come in. */
export interface Passage {
  /** One for each base chain, with the doorman of the best way in. */
  readonly visits: readonly (Visit & { readonly doorman: Doorman })[];
  /** Where its destination is changed before it is delivered. */
  readonly translation: Visit | undefined;
  /** Where it may be, which nobody can tell: with a random target, for some clients only. */
  readonly mayTranslate: Visit | undefined;
}

export function passage({ ways, foresight }: Surroundings, to: Destination): Passage {
  const best = new Map<string, Visit & { doorman: Doorman }>();
  let translation: Visit | undefined;
  let mayTranslate: Visit | undefined;
  for (const way of ways.filter(({ addresses }) => addresses[to.family])) {
    const arrival = foresight.arrival(to, way);
    translation ??= arrival.translation;
    mayTranslate ??= arrival.visits.find(({ ruling, possible }) => !ruling.to && possible.has('translate'));
    for (const visit of arrival.visits) {
      const doorman = doormanOf(visit);
      const known = best.get(chainName(visit));
      if (!known || DOORMEN.indexOf(doorman) < DOORMEN.indexOf(known.doorman))
        best.set(chainName(visit), { ...visit, doorman });
    }
  }
  return { visits: [...best.values()], translation, mayTranslate };
}

/** What was found out about an end of a guarded range, in one family. */
export interface Crossing {
  readonly guarded: Guarded;
  readonly family: Family;
  readonly passage: Passage;
  /** The chains that the host's answers go through. */
  readonly answers: readonly Visit[];
}

/** Takes clients to all guarded ports. */
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
  const lets = (fate: Fate) => fate === 'accept' || fate === 'translate';
  if ([...possible].every(lets)) return 'in';
  if (ruling.fate === 'unknown') return 'unknown';
  if (lets(ruling.fate)) return 'in';
  return [...possible].some(lets) ? 'some' : 'out';
}

/** Whether packets come to a chain before ours at input. Of two chains with the same priority nobody can tell. */
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

/** Where packets are sent on to: `10.0.0.2:80`, `this host`. */
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
