import ipaddr from 'ipaddr.js';
import type { Config } from '../config/types.ts';
import { pass } from '../firewalls/journey.ts';
import { forwarding } from '../firewalls/packet.ts';
import { covers } from './covers.ts';
import type { HostFacts, HostInterface } from './facts.ts';
import { type Checked, type Finding, list } from './finding.ts';
import {
  addressText,
  type Crossing,
  type Guarded,
  guardedRanges,
  guardedText,
  hostText,
  type Surroundings,
} from './passage.ts';
import { SWITCHES } from './settings.ts';

/** Whether there is something behind the guarded ports, and no way around them. Without `around` that is not asked. */
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
    fine: 'services listen there',
    findings: [
      ...interfacesMissing(config, host, path),
      ...nothingListens(here, host),
      ...(around && config.hook === 'prerouting'
        ? forwarded.flatMap(crossing => reachable(crossing, host, around))
        : []),
    ],
  };
}

function interfacesMissing({ interfaces }: Config, host: HostFacts, path: string): Finding[] {
  const there = (pattern: string) => host.interfaces.some(({ name }) => covers(pattern, name));
  if (interfaces.length === 0 || interfaces.some(there)) return [];
  return [
    {
      id: 'no-interface',
      severity: 'risk',
      what: `none of the "interfaces" exists: ${list(interfaces)}`,
      why: 'only packets that come in there are looked at: at present nothing is guarded',
      mend: `"interfaces": [${host.ways.map(({ name }) => JSON.stringify(name)).join(', ')}]  in ${path}`,
    },
  ];
}

function nothingListens(guarded: readonly Guarded[], { listeners }: HostFacts): Finding[] {
  if (!listeners) return [];
  const heard = ({ range: { protocol, first, last } }: Guarded, loopback: boolean) =>
    listeners.some(
      it => it.protocol === protocol && it.port >= first && it.port <= last && (loopback || !it.loopback),
    );
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
            why: 'who knocks correctly is let in, and finds nothing there',
            mend: 'ss -lntup  # what listens, and where: start the service, or correct "ports"',
          },
        ];
  return [
    ...finding(silent, 'nothing listens on'),
    ...finding(inside, 'only this host itself can reach what listens on'),
  ];
}

/** A container has an address of its own, which the guard of the published port knows nothing of. */
function reachable({ guarded, family, passage }: Crossing, host: HostFacts, around: Surroundings): Finding[] {
  const { translation } = passage;
  const { address, port } = translation?.ruling.to ?? {};
  if (!translation || !address || address.vague || !host.switches.has(SWITCHES.forward[family])) return [];
  const output = host.interfaces.find(it => isBehind(address.likely, it));
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
      what: `what is behind ${guardedText(guarded)} can be reached at its own address, ${addressText(translation)}`,
      why: `whoever can send packets for that address to this host's ${way.name}, such as its neighbours there, needs no knock`,
      mend: `nft 'table inet own_addresses { chain prerouting { type filter hook prerouting priority raw; ${rule}; }; }'`,
    },
  ];
}

function isBehind(address: Buffer, { networks }: HostInterface): boolean {
  const parsed = ipaddr.fromByteArray([...address]);
  return networks.some(network => {
    const [base, length] = ipaddr.parseCIDR(network);
    return base.kind() === parsed.kind() && parsed.match(base, length);
  });
}
