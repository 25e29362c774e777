import type { Config } from '../config/types.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import { formatPortRange, mergePortRanges, type PortRange } from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import { type Finding, list } from './finding.ts';
import {
  chainName,
  type Guarded,
  guardedRanges,
  guardedText,
  passage,
  type Surroundings,
} from './passage.ts';

/**
 * With the hook at prerouting, guards look at the port that a packet is sent to. So a client needs no knock if another port
 * is redirected to a guarded one.
 */
export function redirectedAround(config: Config, around: Surroundings, path: string): Finding[] {
  if (config.hook === 'input' || !around.tables.some(redirects)) return [];
  const guarded = guardedRanges(config);
  const found = new Map<string, { visit: Visit; target: Guarded; from: PortRange[] }>();
  for (const protocol of ['tcp', 'udp'] as const)
    for (const range of alike(protocol, guarded, around))
      for (const family of around.families) {
        const { translation: visit } = passage(around, { family, protocol, port: range.first });
        const to = visit?.ruling.to;
        const target = to?.local && to.port && guardOf(guarded, protocol, to.port.likely.readUInt16BE(0));
        if (!visit || !target || guardOf(guarded, protocol, range.first)) continue;
        const key = `${chainName(visit)} ${guardedText(target)}`;
        const known = found.get(key);
        if (known) known.from.push(range);
        else found.set(key, { visit, target, from: [range] });
      }
  return [...found.values()].map(({ visit, target, from }) =>
    finding(visit, target, mergePortRanges(from).map(formatPortRange), path),
  );
}

/** Ranges of ports that the rules and our guards treat alike. */
function alike(protocol: Protocol, guarded: readonly Guarded[], { foresight }: Surroundings): PortRange[] {
  const edges = guarded.flatMap(({ range }) => [range.first, range.last + 1]);
  const firsts = [...new Set([...foresight.ports, ...edges])].filter(port => port <= 65_535);
  firsts.sort((a, b) => a - b);
  return firsts.map((first, index) => ({ protocol, first, last: (firsts[index + 1] ?? 65_536) - 1 }));
}

/** Expressions that may change a packet's destination, and targets of iptables that do. */
const REDIRECTS: ReadonlySet<string> = new Set(['nat', 'redir', 'payload']);
const TARGETS = /REDIRECT|DNAT/;

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

function guardOf(guarded: readonly Guarded[], protocol: Protocol, port: number): Guarded | undefined {
  return guarded.find(
    ({ range }) => range.protocol === protocol && range.first <= port && port <= range.last,
  );
}

function finding(visit: Visit, target: Guarded, from: readonly string[], path: string): Finding {
  return {
    id: 'redirected-around',
    severity: 'broken',
    what: `${chainName(visit)} redirects ${list(from)} to ${guardedText(target)}, past the guard`,
    why: 'with "hook": "prerouting" a guard goes by the port that a packet was sent to: everybody gets in there without a knock',
    mend: `${from.map(port => JSON.stringify(port)).join(', ')} too in services.${target.service.name}.ports  in ${path}`,
  };
}
