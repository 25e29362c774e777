import type { Config } from '../config/types.ts';
import { pass } from '../firewalls/journey.ts';
import { bridged, type Packet, toEveryone } from '../firewalls/packet.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import { FAMILIES } from '../inet/family.ts';
import { guardsDatagrams } from '../ruleset/sets.ts';
import { shellWord } from '../terminal/shell.ts';
import type { HostFacts, KernelFacts } from './facts.ts';
import { type Checked, type Finding, list } from './finding.ts';
import { guardedRanges } from './passage.ts';

/** A flood of datagrams from one machine fills a smaller table within a second. */
const FEW_CONNECTIONS = 65_536;
/** From this share on, the table of connections counts as nearly full. */
const NEARLY_FULL = 0.9;

export const SWITCHES = {
  reflect: ['net.ipv4.fwmark_reflect', 'net.ipv6.fwmark_reflect'],
  forward: { ipv4: 'net.ipv4.ip_forward', ipv6: 'net.ipv6.conf.all.forwarding' },
  helper: 'net.netfilter.nf_conntrack_helper',
  bridged: ['net.bridge.bridge-nf-call-iptables', 'net.bridge.bridge-nf-call-ip6tables'],
} as const;

/** Checks settings of the kernel, and parts of the kernel that we cannot look into. */
export function checkSettings(config: Config, host: HostFacts, kernel: KernelFacts): Checked {
  const { tables, trackingBridges } = kernel.is === 'read' ? kernel : { tables: [], trackingBridges: [] };
  const { conntrack, switches, legacyTables } = host;
  const findings: Finding[] = [];
  if (conntrack) findings.push(...connections(conntrack));
  const reflecting = SWITCHES.reflect.filter(name => switches.has(name));
  if (reflecting.length > 0) findings.push(reflects(reflecting));
  if (config.policy === 'drop' && switches.has(SWITCHES.helper)) findings.push(HELPERS);
  const tracked = SWITCHES.bridged.filter(name => switches.has(name));
  if (tracked.length > 0 && guardsDatagrams(config) && !keepBridgedOut(tables, config))
    findings.push(datagramsBridged(tracked));
  if (trackingBridges.length > 0 && guardsDatagrams(config)) findings.push(datagramsAsked(trackingBridges));
  if (legacyTables.length > 0) findings.push(legacy(legacyTables));
  return {
    name: 'settings',
    fine: conntrack
      ? `${conntrack.count} of ${conntrack.max} connections are tracked`
      : 'nothing is in the way',
    findings,
  };
}

function connections({ count, max }: NonNullable<HostFacts['conntrack']>): Finding[] {
  const mend = `sysctl -w net.netfilter.nf_conntrack_max=${Math.max(262_144, max * 2)}  # and in /etc/sysctl.d`;
  if (count >= max * NEARLY_FULL)
    return [
      {
        id: 'connections-full',
        severity: 'risk',
        what: `${count} of ${max} connections that the kernel can track are in use`,
        why: 'when it is full, new connections are dropped, also those of clients that knocked',
        mend,
      },
    ];
  if (max >= FEW_CONNECTIONS) return [];
  return [
    {
      id: 'connections-few',
      severity: 'note',
      what: `the kernel tracks at most ${max} connections`,
      why: 'a flood of that many datagrams, to any ports, fills its table; then new connections are dropped',
      mend,
    },
  ];
}

function reflects(names: readonly string[]): Finding {
  return {
    id: 'fwmark-reflect',
    severity: 'note',
    what: `${list(names)} ${names.length === 1 ? 'is' : 'are'} on`,
    why: 'a knock loses the mark that it came with, so the answer to it may take another route than its neighbours',
    mend: `${names.map(name => `sysctl -w ${name}=0`).join(' && ')}  # and in /etc/sysctl.d`,
  };
}

const HELPERS: Finding = {
  id: 'automatic-helpers',
  severity: 'note',
  what: `${SWITCHES.helper} is on`,
  why: 'anyone who can make a helped service repeat a line opens ports that "policy": "drop" keeps closed; guarded ones stay guarded',
  mend: `sysctl -w ${SWITCHES.helper}=0  # and in /etc/sysctl.d`,
};

/**
 * Whether chains drop what a bridge passes on for a guarded port, either way round, and what comes to the port in a frame for
 * everyone, as {@link BRIDGED} does. Guards before DNAT see such a frame before tracking confirms its flow.
 */
function keepBridgedOut(tables: readonly ForeignTable[], config: Config): boolean {
  const drops = (hook: 'forward' | 'prerouting', packet: Packet) =>
    pass(tables, hook, packet).visits.some(({ possible }) =>
      [...possible].every(fate => fate === 'drop' || fate === 'reject'),
    );
  return guardedRanges(config)
    .filter(({ range }) => range.protocol === 'udp')
    .flatMap(({ range }) => [range.first, range.last])
    .every(port =>
      FAMILIES.every(
        family =>
          bridged(family, port).every(packet => drops('forward', packet)) &&
          (config.hook === 'prerouting' || drops('prerouting', toEveryone(family, port))),
      ),
    );
}

const BRIDGED = [
  'add table inet bridged',
  'add chain inet bridged prerouting { type filter hook prerouting priority filter; }',
  'add rule inet bridged prerouting meta pkttype != host fib daddr type local drop',
  'add chain inet bridged forward { type filter hook forward priority filter; }',
  'add rule inet bridged forward fib daddr type local drop',
  'add rule inet bridged forward fib saddr type local drop',
].join('; ');

const DATAGRAMS_BRIDGED =
  'a stranger on a link of a bridge here can have tracking take a datagram to us for a flow that was let in, and then reach guarded UDP ports';

function datagramsBridged(names: readonly string[]): Finding {
  return {
    id: 'datagrams-bridged',
    severity: 'risk',
    what: `${list(names)} ${names.length === 1 ? 'is' : 'are'} on, and UDP ports are guarded`,
    why: DATAGRAMS_BRIDGED,
    mend: `nft '${BRIDGED}'  # and in /etc/nftables.conf`,
  };
}

/** We do not look into chains of bridges, so we cannot tell whether they drop such frames. */
function datagramsAsked(names: readonly string[]): Finding {
  const tables = names.map(name => `table bridge ${name}`);
  return {
    id: 'datagrams-bridged',
    severity: 'note',
    what: `${list(tables)} ${names.length === 1 ? 'asks' : 'ask'} ct, and UDP ports are guarded`,
    why: `unless a chain there at forward first drops frames from and to the addresses of this host, ${DATAGRAMS_BRIDGED}`,
    mend: names.map(name => `nft list table bridge ${shellWord(name)}`).join(' && '),
  };
}

function legacy(tables: readonly string[]): Finding {
  const commands = [
    ...new Set(tables.map(name => `${name.startsWith('ip6') ? 'ip6' : 'ip'}tables-legacy-save`)),
  ];
  return {
    id: 'legacy-tables',
    severity: 'note',
    what: `tables of iptables-legacy are in use (${list(tables)}), which doctor cannot read`,
    why: 'packets that they drop do not get in, whatever our table says',
    mend: `${commands.join('; ')}  # shows them`,
  };
}
