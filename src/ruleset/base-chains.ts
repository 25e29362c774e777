import type { Config } from '../config/types.ts';
import type { ChainWithRules } from '../nftables/ruleset.ts';
import type { Automaton } from './automaton.ts';
import { chain, type Statement } from './chain-parts.ts';
import * as match from './match.ts';
import { names } from './names.ts';
import { looksIntoPayload } from './token-chains.ts';

/** NF_IP_PRI_MANGLE: after connection tracking, before DNAT. */
const PRIORITY_MANGLE = -150;

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
      hook: { name: 'prerouting', priority: PRIORITY_MANGLE, policy: 'accept' },
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

/** ICMP and ICMPv6 types (RFC 792, 1191, 4443, 2710, 3810, 4861) that a host needs to work. */
const ICMP = [3, 8, 11, 12];
const ICMPV6 = [1, 2, 3, 4, 128];
const MLD = [130, 131, 132, 143];
const NEIGHBOURS = [133, 134, 135, 136];

/** What a host that drops everything else needs: see section "policy" of the documentation. */
function keptUnderDrop(): Statement[] {
  return [
    // after the guards: a helper's expectation must not open one
    [...match.ctState('related'), ...match.accept],
    // the peer of a connection that both hosts open at the same moment (RFC 9293, 3.5)
    [...match.ctState('established'), ...match.isReply, ...match.accept],
    ...ICMP.map(type => [...match.icmpType('ipv4', type), ...match.accept]),
    ...ICMPV6.map(type => [...match.icmpType('ipv6', type), ...match.accept]),
    ...MLD.map(type => [...match.icmpType('ipv6', type), ...match.fromLinkLocal('ipv6'), ...match.accept]),
    ...NEIGHBOURS.map(type => [...match.icmpType('ipv6', type), ...match.hopLimit255, ...match.accept]),
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
