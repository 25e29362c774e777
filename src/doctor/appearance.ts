import type { Closed, Config, Family, PortRange } from '../config/types.ts';
import { pass, type Visit } from '../firewalls/journey.ts';
import { arriving } from '../firewalls/packet.ts';
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
  const used = [
    ...config.public,
    ...config.services.flatMap(({ ports, sequences }) => [
      ...ports,
      ...sequences.flatMap(({ knocks }) =>
        knocks.map(({ protocol, port }) => ({ protocol, first: port, last: port })),
      ),
    ]),
  ];
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

function hides(closed: Closed, { look }: Neighbours): boolean {
  return closed === 'drop' ? look === 'drop' : look !== 'drop';
}

/** undefined where they do not all look alike, or nobody can tell. */
function neighboursOf(
  { protocol, first, last }: PortRange,
  config: Config,
  used: readonly PortRange[],
  around: Surroundings,
): Neighbours | undefined {
  const free = (port: number) =>
    !used.some(it => it.protocol === protocol && it.first <= port && port <= it.last);
  const ports = [nearest(first, -1, free), nearest(last, 1, free)].filter(port => port !== undefined);
  const looks = ports.flatMap(port =>
    around.families.flatMap(family =>
      around.ways.map(way => lookOf({ family, protocol, port }, way, config, around)),
    ),
  );
  const [one] = looks;
  return one && looks.every(it => it?.look === one.look) ? one : undefined;
}

function nearest(from: number, step: 1 | -1, free: (port: number) => boolean): number | undefined {
  for (let port = from + step; port >= 1 && port <= 65535; port += step) if (free(port)) return port;
  return undefined;
}

function lookOf(
  to: { readonly family: Family; readonly protocol: PortRange['protocol']; readonly port: number },
  way: Surroundings['ways'][number],
  { policy, priority }: Config,
  { tables }: Surroundings,
): Neighbours | undefined {
  const before = pass(tables, 'prerouting', arriving(to, way));
  if (before.translation) return undefined;
  const visits = [...before.visits, ...pass(tables, 'input', before.packet).visits];
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
