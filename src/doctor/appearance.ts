import type { Closed, Config, PortRange } from '../config/types.ts';
import type { Destination } from '../firewalls/foresight.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { Interface } from '../firewalls/packet.ts';
import { type Checked, type Finding, list } from './finding.ts';
import { chainName, type Surroundings } from './passage.ts';

/**
 * How the ports beside the guarded ones look, which nobody uses: a guarded port that looks otherwise shows a scanner where
 * to look.
 */
interface Neighbours {
  /** `answer`: the host itself says that they are closed. */
  readonly look: 'drop' | 'reject' | 'answer';
  /** Who makes them look so: `table inet filter, chain input`. */
  readonly by: string;
}

/** Services that look otherwise than the ports beside them. */
export interface Mismatch {
  readonly services: readonly string[];
  readonly closed: Closed;
  readonly neighbours: Neighbours;
}

export function mismatches(config: Config, around: Surroundings): Mismatch[] {
  const used = usedPorts(config);
  const found = new Map<string, { services: Set<string>; closed: Closed; neighbours: Neighbours }>();
  for (const { name, closed, ports } of config.services)
    for (const range of ports) {
      const neighbours = neighboursOf(range, config, used, around);
      if (!neighbours || hides(closed, neighbours)) continue;
      const key = `${closed} ${neighbours.by}`;
      const known = found.get(key);
      if (known) known.services.add(name);
      else found.set(key, { services: new Set([name]), closed, neighbours });
    }
  return [...found.values()].map(({ services, ...rest }) => ({ ...rest, services: [...services] }));
}

/** All that the configuration names: 1 at a port's place. */
type Used = Readonly<Record<PortRange['protocol'], Uint8Array>>;

function usedPorts({ public: open, services }: Config): Used {
  const used = { tcp: new Uint8Array(0x10000), udp: new Uint8Array(0x10000) };
  for (const { protocol, first, last } of [...open, ...services.flatMap(({ ports }) => ports)])
    used[protocol].fill(1, first, last + 1);
  for (const { sequences } of services)
    for (const { knocks } of sequences) for (const { protocol, port } of knocks) used[protocol][port] = 1;
  return used;
}

function hides(closed: Closed, { look }: Neighbours): boolean {
  return closed === 'drop' ? look === 'drop' : look !== 'drop';
}

/** undefined where they do not all look alike, or nobody can tell. */
function neighboursOf(
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
    return { look: 'drop', by: '"policy": "drop"' };
  if (!stop) return { look: 'answer', by: 'this host' };
  return { look: stop.ruling.fate === 'drop' ? 'drop' : 'reject', by: chainName(stop) };
}

function isStop({ ruling: { fate } }: Visit): boolean {
  return fate === 'drop' || fate === 'reject';
}

function isAfter(priority: number, { chain: { hook } }: Visit): boolean {
  return hook.name === 'input' && hook.priority >= priority;
}

/** What a port scanner would notice. */
export function checkAppearance(config: Config, around: Surroundings, path: string): Checked {
  return {
    name: 'appearance',
    fine: 'guarded ports look like those beside them',
    findings: mismatches(config, around).map(mismatch => finding(mismatch, path)),
  };
}

function finding(mismatch: Mismatch, path: string): Finding {
  return {
    id: 'stands-out',
    severity: mismatch.neighbours.look === 'answer' ? 'note' : 'risk',
    what: mismatchText(mismatch),
    why: 'it shows a port scanner where something is hidden',
    mend: `"closed": "${mismatch.closed === 'drop' ? 'reject' : 'drop'}"  in ${path}`,
  };
}

const SHOWN = {
  drop: 'nothing comes back from the ports beside it',
  reject: 'the ports beside it are refused',
  answer: 'the ports beside it answer that they are closed',
} as const;

/** `"closed": "reject" of ssh: nothing comes back from the ports beside it (table inet filter, chain input)` */
export function mismatchText({ services, closed, neighbours }: Mismatch): string {
  return `"closed": "${closed}" of ${list(services)}: ${SHOWN[neighbours.look]} (${neighbours.by})`;
}
