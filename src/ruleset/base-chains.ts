import type { Config } from '../config/types.ts';
import { ICMP_TYPE, ICMPV6_TYPE } from '../inet/header.ts';
import { NF_IP_PRI } from '../inet/netfilter.ts';
import type { ChainWithRules } from '../nftables/ruleset.ts';
import type { Automaton } from './automaton.ts';
import { chain, type Statement } from './chain-parts.ts';
import * as match from './match.ts';
import { names } from './names.ts';
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
    // allowed sources and running sessions may go to any port, so they come first
    ...(config.policy === 'drop' ? [match.jump('exempt')] : []),
    match.portVerdict(names.ports),
    ...(config.policy === 'drop' ? keptUnderDrop() : []),
    ...(config.strict ? [match.goto('stray')] : []),
  ];
  const prerouting = [...early, [...match.toOthers, ...match.accept], match.portVerdict(names.guards)];
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

/** What a host that drops everything else needs: see section "policy" of the documentation. */
function keptUnderDrop(): Statement[] {
  return [
    // after the guards: a helper's expectation must not open one
    [...match.ctState('related'), ...match.accept],
    // the peer of a connection that both hosts open at the same moment (RFC 9293, 3.5)
    [...match.ctState('established'), ...match.isReply, ...match.accept],
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
