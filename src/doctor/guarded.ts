import type { Config } from '../config/types.ts';
import { pass } from '../firewalls/journey.ts';
import { forwarding } from '../firewalls/packet.ts';
import { type Astray, astrayText, looksNowhere, NOTHING_LOOKED_AT } from '../host/interfaces.ts';
import { isWithin } from '../inet/network.ts';
import { includes } from '../inet/port.ts';
import type { HostFacts } from './facts.ts';
import { type Checked, type Finding, type FindingId, list, type Severity } from './finding.ts';
import {
  addressText,
  type Crossing,
  type Guarded,
  guardedRanges,
  guardedText,
  guardsPorts,
  hostText,
  type Surroundings,
} from './passage.ts';
import { SWITCHES } from './settings.ts';

/** Checks that something listens behind the guarded ports, and that no way leads around them. The latter needs `around`. */
export function checkGuarded(
  config: Config,
  host: HostFacts,
  around: Surroundings | undefined,
  crossings: readonly Crossing[],
  path: string,
): Checked {
  const forwarded = crossings.filter(({ passage }) => passage.translation);
  const elsewhere = new Set(forwarded.map(({ guarded }) => guarded.range));
  const here = guardedRanges(config).filter(({ range }) => !elsewhere.has(range));
  return {
    name: 'guarded ports',
    fine: guardedRanges(config).length > 0 ? 'services listen there' : 'there are none',
    findings: [
      ...interfacesMissing(config, host, path),
      ...nothingListens(here, host),
      ...(around && config.hook === 'prerouting'
        ? forwarded.flatMap(crossing => reachable(crossing, host, around))
        : []),
    ],
  };
}

function interfacesMissing(config: Config, { looked, ways }: HostFacts, path: string): Finding[] {
  if (looked.astray.length === 0) return [];
  const seemsGuarded = looked.astray.filter(({ is }) => is !== 'absent');
  const nothing = looksNowhere(looked);
  const meant = config.interfaces.flatMap(pattern => meantBy(pattern, looked.astray));
  const names = meant.length > 0 ? [...new Set(meant)] : ways.map(({ name }) => name);
  const finding = (id: FindingId, severity: Severity, astray: readonly Astray[], why: string) => ({
    id,
    severity,
    what: `"interfaces": ${[...(nothing ? [NOTHING_LOOKED_AT] : []), ...astray.map(astrayText)].join('; ')}`,
    why,
    mend: `"interfaces": [${names.map(name => JSON.stringify(name)).join(', ')}]  in ${path}`,
  });
  if (nothing || seemsGuarded.length > 0)
    return [
      finding(
        'no-interface',
        'broken',
        nothing ? looked.astray : seemsGuarded,
        `only packets that come in by interfaces of these names are checked${guardsPorts(config) ? ': the others find every port open' : ', also for knocks and tokens'}`,
      ),
    ];
  return [
    finding(
      'interface-absent',
      'note',
      looked.astray,
      'until there is such an interface, that name has no effect',
    ),
  ];
}

/** The names of the interfaces that packets really come in by; none for an interface that is not there. */
function meantBy(pattern: string, astray: readonly Astray[]): readonly string[] {
  const mine = astray.filter(it => it.pattern === pattern);
  if (mine.length === 0) return [pattern];
  const by = mine.flatMap(it => it.by);
  return pattern.endsWith('*') && by.length > 0 ? [pattern, ...by] : by;
}

function nothingListens(guarded: readonly Guarded[], { listeners }: HostFacts): Finding[] {
  if (!listeners) return [];
  const heard = ({ range }: Guarded, loopback: boolean) =>
    listeners.some(it => includes(range, it) && (loopback || !it.loopback));
  const silent = guarded.filter(it => !heard(it, true));
  const inside = guarded.filter(it => heard(it, true) && !heard(it, false));
  const finding = (ports: readonly Guarded[], what: string): Finding[] =>
    ports.length === 0
      ? []
      : [
          {
            id: 'nothing-listens',
            severity: 'note',
            what: `${what} ${list(ports.map(guardedText))}`,
            why: 'a client that knocks correctly is let in, but nothing listens there',
            mend: 'ss -lntup  # what listens, and where: start the service, or correct "ports"',
          },
        ];
  return [
    ...finding(silent, 'nothing listens on'),
    ...finding(inside, 'only this host itself can reach what listens on'),
  ];
}

/** A container has an address of its own. The guard of the published port does not cover that. */
function reachable({ guarded, family, passage }: Crossing, host: HostFacts, around: Surroundings): Finding[] {
  const { translation } = passage;
  const { address, port } = translation?.ruling.to ?? {};
  if (!translation || !address || address.vague || !host.switches.has(SWITCHES.forward[family])) return [];
  const output = host.interfaces.find(({ networks }) => networks.some(it => isWithin(address.likely, it)));
  if (!output) return [];
  const to = {
    family,
    protocol: guarded.range.protocol,
    port: port?.likely.readUInt16BE(0) ?? guarded.range.first,
    address: address.likely,
  };
  const way = around.ways.find(it => {
    const before = pass(around.tables, 'prerouting', forwarding(to, it, output));
    const after = pass(around.tables, 'forward', before.packet);
    return [...before.visits, ...after.visits].every(({ ruling }) => ruling.fate === 'accept');
  });
  if (!way || way.name === output.name) return [];
  const rule = `iifname ${way.name} ${family === 'ipv4' ? 'ip' : 'ip6'} daddr ${hostText(address.likely)} drop`;
  return [
    {
      id: 'reachable-around',
      severity: 'note',
      what: `the program behind ${guardedText(guarded)} can be reached at its own address, ${addressText(translation)}`,
      why: `anyone who can send packets for that address to this host's ${way.name}, such as a neighbour there, needs no knock. The rule lasts until the next boot`,
      mend: `nft 'table inet own_addresses { chain prerouting { type filter hook prerouting priority raw; ${rule}; }; }'`,
    },
  ];
}
