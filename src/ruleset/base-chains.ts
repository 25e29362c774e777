import type { Config } from '../config/types.ts';
import { ICMP_TYPE, ICMPV6_TYPE } from '../inet/header.ts';
import { NF_IP_PRI } from '../inet/netfilter.ts';
import type { ChainWithRules } from '../nftables/ruleset.ts';
import type { Automaton } from './automaton.ts';
import { chain } from './chain-parts.ts';
import * as elements from './elements.ts';
import type { Statement } from './match.ts';
import * as match from './match.ts';
import { names } from './names.ts';
import { guardsDatagrams } from './sets.ts';
import { looksIntoPayload } from './token-chains.ts';

/** Accepts packets from all other interfaces. The guards look only at these. */
export function interfaces(patterns: readonly string[]): ChainWithRules {
  return chain(
    'interfaces',
    ...patterns.map(pattern => [...match.interfaceName(pattern), ...match.leave]),
    match.accept,
  );
}

export function baseChains(config: Config, automaton: Automaton, label: string): ChainWithRules[] {
  const onInterfaces = config.interfaces.length > 0 ? [match.jump('interfaces')] : [];
  const early = [
    [...match.ctState('established'), ...match.jump('running')],
    [...match.loopback, ...match.accept],
    ...onInterfaces,
  ];
  const payload = looksIntoPayload(config, automaton) ? config.token.payload : [];
  const input = [
    // before established traffic is accepted, since these packets belong to it
    ...payload.map(({ port }) => [...match.tcpPort(port), ...match.jump('token_payload')]),
    ...early,
    ...(guardsDatagrams(config) ? [[...elements.fromPortIn(names.guardedUdp), ...match.jump('posing')]] : []),
    // allowed sources and running sessions may go to any port, so they come first
    ...(config.policy === 'drop' ? [match.jump('exempt')] : []),
    ...(config.hook === 'prerouting' ? guardedLate() : []),
    // the map says `continue` for knocks, and then the rule goes on
    [...elements.portVerdict(names.ports), ...match.goto('knock')],
    ...(config.policy === 'drop' ? keptUnderDrop() : []),
    ...(config.strict ? [match.goto('stray')] : []),
  ];
  const prerouting = [...early, [...match.toOthers, ...match.accept], elements.portVerdict(names.guards)];
  const chains: ChainWithRules[] = [
    {
      ...chain('input', ...input),
      hook: { name: 'input', priority: config.priority, policy: config.policy },
    },
  ];
  if (config.hook === 'prerouting')
    chains.unshift({
      ...chain('prerouting', ...prerouting),
      // after connection tracking, before DNAT
      hook: { name: 'prerouting', priority: NF_IP_PRI.mangle, policy: 'accept' },
    });
  if (config.policy === 'drop' || guardsDatagrams(config)) chains.push(forward(config));
  return chains.map(({ rules: [first, ...rest], ...base }) => ({
    ...base,
    rules:
      first && base.name === 'input'
        ? [{ ...first, comment: label }, ...rest]
        : first
          ? [first, ...rest]
          : rest,
  }));
}

/**
 * Keeps strangers from beginning flows in this host's name: a forged packet that a router passes on makes tracking take its
 * answer, which is for this host, for a packet of a flow that this host began. The kernel itself passes on no IPv4 packet with an
 * address of its own, but it may with one for many hosts, and where loopback is routed. A TCP connection to a guarded port needs a
 * SYN, which is guarded whatever tracking knows.
 */
function forward({ policy }: Config): ChainWithRules {
  const concerned = policy === 'drop' ? [] : match.protocol('udp');
  return {
    ...chain(
      'forward',
      [...match.ctState('established'), ...match.accept],
      [...match.family('ipv6'), ...concerned, ...match.fromUs, ...match.drop],
      [...match.family('ipv6'), ...concerned, ...match.fromAnycast, ...match.drop],
      [...concerned, ...match.fromBroadcast, ...match.drop],
      [...concerned, ...match.fromLoopback, ...match.drop],
    ),
    hook: { name: 'forward', priority: NF_IP_PRI.filter, policy: 'accept' },
  };
}

/**
 * Keeps strangers from beginning such a flow from a guarded UDP port to this host itself. The kernel refuses most such packets
 * over IPv4, and none over IPv6. Other ports may send to an address of this host by the wire, as in a VRF. No answer comes from a
 * multicast address, and the kernel gives back by the wire what a program here sends to one.
 *
 * Over IPv6 the kernel cannot say whether a link-local address is ours on another link than that of the packet, and tracking
 * does not tell links apart. So a link-local source begins no such flow at all, unless it is allowed, or the flow leads to a
 * guarded port, too, where the guard asks for an opening: peers of WireGuard use the same port on both sides.
 */
export function posing(): ChainWithRules {
  return chain(
    'posing',
    [...match.toMany('multicast'), ...match.leave],
    [...match.fromUs, ...match.drop],
    [...match.fromAnycast, ...match.drop],
    [...match.fromBroadcast, ...match.drop],
    [...elements.clientIn({ family: 'ipv6', length: 128 }, names.allowed('ipv6')), ...match.leave],
    [...elements.toPortIn(names.guardedUdp), ...match.leave],
    [...match.family('ipv6'), ...match.fromLinkLocal('ipv6'), ...match.drop],
  );
}

/**
 * Guards for packets that the guards before DNAT cannot take for packets to a guarded port of this host: those that a helper
 * redirects there, and those for an address that only another routing table than `local` has, such as that of a VRF.
 */
function guardedLate(): Statement[] {
  return [match.expectedElsewhere, match.toOthers].map(late => [
    ...late,
    ...elements.portVerdict(names.guards),
  ]);
}

/** Packets that a host needs to work. */
const ICMP = ['destination-unreachable', 'echo-request', 'time-exceeded', 'parameter-problem'] as const;
const ICMPV6 = [
  'destination-unreachable',
  'packet-too-big',
  'time-exceeded',
  'parameter-problem',
  'echo-request',
] as const;
const MLD = [
  'mld-listener-query',
  'mld-listener-report',
  'mld-listener-done',
  'mld2-listener-report',
] as const;
const NEIGHBOURS = [
  'nd-router-solicit',
  'nd-router-advert',
  'nd-neighbor-solicit',
  'nd-neighbor-advert',
] as const;

/** Rules for packets that a host needs even if it drops everything else. */
function keptUnderDrop(): Statement[] {
  return [
    // after the guards: a helper's expectation must not open one
    [...match.ctState('related'), ...match.accept],
    // the peer of a connection that both hosts open at the same moment (RFC 9293, 3.5); a stranger on two links can begin one in
    // our link-local name, see `posing`
    ...[match.family('ipv4'), [...match.family('ipv6'), ...match.notToLinkLocal]].map(to => [
      ...to,
      ...match.ctState('established'),
      ...match.isReply,
      ...match.accept,
    ]),
    ...ICMP.map(type => [...match.icmpType('ipv4', ICMP_TYPE[type]), ...match.accept]),
    ...ICMPV6.map(type => [...match.icmpType('ipv6', ICMPV6_TYPE[type]), ...match.accept]),
    ...MLD.map(type => [
      ...match.icmpType('ipv6', ICMPV6_TYPE[type]),
      ...match.fromLinkLocal('ipv6'),
      ...match.accept,
    ]),
    ...NEIGHBOURS.map(type => [
      ...match.icmpType('ipv6', ICMPV6_TYPE[type]),
      ...match.hopLimit255,
      ...match.accept,
    ]),
    [...match.protocol('igmp'), ...match.accept],
    [...match.protocol('udp'), ...match.udpPorts(67, 68), ...match.accept],
    [
      ...match.family('ipv6'),
      ...match.toLinkLocal,
      ...match.protocol('udp'),
      ...match.udpPort(546),
      ...match.accept,
    ],
  ];
}
