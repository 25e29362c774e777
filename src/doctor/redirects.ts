import type { Config } from '../config/types.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import { formatPortRange, includes, mergePortRanges, type PortRange } from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import { type Finding, list } from './finding.ts';
import {
  chainName,
  type Guarded,
  guardedRanges,
  guardedText,
  isBehind,
  type Passage,
  passage,
  type Surroundings,
} from './passage.ts';

/** A rule that takes packets past a guard, to the guarded port. */
interface Around {
  readonly visit: Visit;
  readonly target: Guarded;
  readonly by: 'redirect' | 'TPROXY';
}

/**
 * A guard looks at the port that a packet has when it comes there. So a client needs no knock if another port is changed to a
 * guarded one behind the guard, or if TPROXY gives its packets to the socket of a guarded port.
 */
export function redirectedAround(config: Config, around: Surroundings, path: string): Finding[] {
  if (!around.tables.some(redirects)) return [];
  const guarded = guardedRanges(config);
  const found = new Map<string, Around & { from: PortRange[] }>();
  for (const protocol of ['tcp', 'udp'] as const) {
    const guardOf = (port: number) => guarded.find(({ range }) => includes(range, { protocol, port }));
    for (const range of alike(protocol, guarded, around)) {
      if (guardOf(range.first)) continue;
      for (const family of around.families)
        for (const way of waysAround(
          config,
          passage(around, { family, protocol, port: range.first }),
          guardOf,
        )) {
          const key = `${way.by} ${chainName(way.visit)} ${guardedText(way.target)}`;
          const known = found.get(key);
          if (known) known.from.push(range);
          else found.set(key, { ...way, from: [range] });
        }
    }
  }
  return [...found.values()].map(({ from, ...way }) =>
    finding(way, mergePortRanges(from).map(formatPortRange), path),
  );
}

function waysAround(
  config: Config,
  { translation, leads }: Passage,
  guardOf: (port: number) => Guarded | undefined,
): Around[] {
  const to = translation?.ruling.to;
  const changed = translation && to?.local && isBehind(config, translation) ? to.port : undefined;
  return [
    ...(translation && changed ? [{ visit: translation, port: changed, by: 'redirect' as const }] : []),
    ...leads.map(lead => ({ ...lead, by: 'TPROXY' as const })),
  ].flatMap(({ visit, port, by }) => {
    const target = port.vague ? undefined : guardOf(port.likely.readUInt16BE(0));
    return target ? [{ visit, target, by }] : [];
  });
}

/** Ranges of ports that the rules and our guards treat alike. */
function alike(protocol: Protocol, guarded: readonly Guarded[], { foresight }: Surroundings): PortRange[] {
  const edges = guarded.flatMap(({ range }) => [range.first, range.last + 1]);
  const firsts = [...new Set([...foresight.ports, ...edges])].filter(port => port <= 65_535);
  firsts.sort((a, b) => a - b);
  return firsts.map((first, index) => ({ protocol, first, last: (firsts[index + 1] ?? 65_536) - 1 }));
}

/** Expressions that may change a packet's destination, and targets of iptables that do. */
const REDIRECTS: ReadonlySet<string> = new Set(['nat', 'redir', 'payload', 'tproxy']);
const TARGETS = /REDIRECT|DNAT|TPROXY/;

/** Whether a rule may redirect. We ask this first, since there may be thousands of ports to try. */
function redirects({ chains }: ForeignTable): boolean {
  return [...chains.values()].some(({ rules }) =>
    rules.some(({ expressions }) =>
      expressions.some(
        it => it.kind === 'unknown' && (REDIRECTS.has(it.name) || TARGETS.test(it.raw.toString('latin1'))),
      ),
    ),
  );
}

const WHY = {
  redirect: 'a guard looks at the port that a packet had before: everybody gets in there without a knock',
  TPROXY:
    'a guard looks at the port that a packet was sent to: if the program has a transparent socket, everybody gets in there without a knock',
} as const;

function finding({ visit, target, by }: Around, from: readonly string[], path: string): Finding {
  const does = `${by === 'redirect' ? 'redirects' : 'leads'} ${list(from)} to ${guardedText(target)}`;
  return {
    id: 'redirected-around',
    severity: 'broken',
    what: `${chainName(visit)} ${does}${by === 'redirect' ? '' : ` by ${by}`}, past the guard`,
    why: WHY[by],
    mend: `${from.map(port => JSON.stringify(port)).join(', ')} too in services.${target.service.name}.ports  in ${path}`,
  };
}
