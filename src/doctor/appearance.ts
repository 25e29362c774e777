// doctor/ checks the whole host, with a file for each kind of finding: what it is, why it matters, what mends it.
// It changes nothing, except that `--trace` has a table of its own until it ends.
// Floor 7: it imports only from rooms on lower floors.

import type { Closed, Config, Service } from '../config/types.ts';
import type { Destination } from '../firewalls/foresight.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { Interface } from '../firewalls/packet.ts';
import type { PortRange } from '../inet/port.ts';
import { type Checked, type Finding, list } from './finding.ts';
import { type Look, lookOfReject, unlikeness } from './look.ts';
import { chainName, guardedRanges, type Surroundings } from './passage.ts';

/**
 * How the unused ports next to the guarded ones look. A guarded port that looks different shows a scanner where to look.
 */
interface Neighbours {
  readonly look: Look;
  /** The chain behind that look: `table inet filter, chain input`; undefined for the host itself, if nothing stops packets. */
  readonly by: string | undefined;
}

/** Services that look different from the ports next to them, if another value of `closed` comes closer. */
interface Mismatch {
  readonly services: readonly string[];
  readonly closed: Closed;
  /** The value that `closed` should have. */
  readonly better: Closed;
  readonly neighbours: Neighbours;
}

export function mismatches(config: Config, around: Surroundings): Mismatch[] {
  const found = new Map<string, Mismatch>();
  const used = usedPorts(config);
  for (const service of config.services) {
    const neighbours = neighboursOf(service, config, used, around);
    const better = mostAlike(neighbours, service.closed);
    const one = neighbours.find(({ look }) => unlikeness(better, look) < unlikeness(service.closed, look));
    if (better === service.closed || !one) continue;
    const key = `${service.closed} ${better} ${one.by}`;
    const { services = [] } = found.get(key) ?? {};
    found.set(key, {
      services: [...services, service.name],
      closed: service.closed,
      better,
      neighbours: one,
    });
  }
  return [...found.values()];
}

/** The value of `closed` that fits a service best, judged as by {@link mismatches}; undefined if we cannot tell. */
export function fittingClosed(service: Service, config: Config, around: Surroundings): Closed | undefined {
  const neighbours = neighboursOf(service, config, usedPorts(config), around);
  return neighbours.length > 0 ? mostAlike(neighbours, service.closed) : undefined;
}

const ALL: readonly Closed[] = ['drop', 'reject', 'prohibited'];

/** The value most like the neighbours. If several are, `current` stays. */
function mostAlike(neighbours: readonly Neighbours[], current: Closed): Closed {
  const total = (closed: Closed) => neighbours.reduce((sum, { look }) => sum + unlikeness(closed, look), 0);
  return ALL.reduce((best, it) => (total(it) < total(best) ? it : best), current);
}

/** All ports that the configuration names: 1 at each port's place. */
type Used = Readonly<Record<PortRange['protocol'], Uint8Array>>;

function usedPorts({ public: open, services }: Config): Used {
  const used = { tcp: new Uint8Array(0x10000), udp: new Uint8Array(0x10000) };
  for (const { protocol, first, last } of [...open, ...services.flatMap(({ ports }) => ports)])
    used[protocol].fill(1, first, last + 1);
  for (const { sequences } of services)
    for (const { knocks } of sequences) for (const { protocol, port } of knocks) used[protocol][port] = 1;
  return used;
}

/** One entry for each range of its ports whose neighbours all look alike. */
function neighboursOf(
  { ports }: Service,
  config: Config,
  used: Used,
  around: Surroundings,
): readonly Neighbours[] {
  return ports.flatMap(range => neighboursOfRange(range, config, used, around) ?? []);
}

/** undefined if the neighbours do not all look alike, or if we cannot tell. */
function neighboursOfRange(
  { protocol, first, last }: PortRange,
  config: Config,
  used: Used,
  around: Surroundings,
): Neighbours | undefined {
  const below = used[protocol].lastIndexOf(0, first);
  const above = used[protocol].indexOf(0, last);
  const ports = [below, above].filter(port => port > 0);
  const looks = ports.flatMap(port =>
    around.families.flatMap(family =>
      around.ways
        .filter(({ addresses }) => addresses[family])
        .map(way => lookOf({ family, protocol, port }, way, config, around)),
    ),
  );
  const [one] = looks;
  return one && looks.every(it => it?.look === one.look) ? one : undefined;
}

function lookOf(
  to: Destination,
  way: Interface,
  { policy, priority }: Config,
  { foresight }: Surroundings,
): Neighbours | undefined {
  const { visits, translation } = foresight.arrival(to, way);
  if (translation) return undefined;
  const stop = visits.find(({ ruling }) => ruling.fate !== 'accept');
  if (stop && !isStop(stop)) return undefined;
  if (policy === 'drop' && (!stop || isAfter(priority, stop)))
    return { look: 'silence', by: '"policy": "drop"' };
  if (!stop) return { look: 'closed', by: undefined };
  const { fate, rule } = stop.ruling;
  const look = fate === 'drop' ? 'silence' : rule && lookOfReject(rule, to.family, to.protocol);
  return look && { look, by: chainName(stop) };
}

function isStop({ ruling: { fate } }: Visit): boolean {
  return fate === 'drop' || fate === 'reject';
}

function isAfter(priority: number, { chain: { hook } }: Visit): boolean {
  return hook.name === 'input' && hook.priority >= priority;
}

/** A difference that a port scanner would notice. */
export function checkAppearance(config: Config, around: Surroundings, path: string): Checked {
  return {
    name: 'appearance',
    fine:
      guardedRanges(config).length > 0
        ? 'guarded ports look like those beside them'
        : 'there are no guarded ports',
    findings: mismatches(config, around).map(mismatch => finding(mismatch, path)),
  };
}

function finding(mismatch: Mismatch, path: string): Finding {
  const places = mismatch.services.map(name => `services.${name}`).join(' and ');
  return {
    id: 'stands-out',
    severity: mismatch.neighbours.by === undefined ? 'note' : 'risk',
    what: mismatchText(mismatch),
    why: 'a port scanner can see that something is hidden there',
    mend: `"closed": "${mismatch.better}"  in ${places} in ${path}`,
  };
}

const SHOWN: Readonly<Record<Look, string>> = {
  silence: 'the ports beside it do not answer',
  closed: 'the ports beside it answer that they are closed',
  prohibited: 'the ports beside it answer that they are prohibited',
  'other ICMP': 'the ports beside it answer by ICMP',
};

/** `"closed": "reject" of ssh: the ports beside it do not answer (table inet filter, chain input)` */
export function mismatchText({ services, closed, neighbours: { look, by = 'this host' } }: Mismatch): string {
  return `"closed": "${closed}" of ${list(services)}: ${SHOWN[look]} (${by})`;
}
