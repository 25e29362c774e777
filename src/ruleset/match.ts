import { ADDRESS_TYPE, LINK_LOCAL, prefixMask } from '../inet/address.ts';
import { AF, type Family } from '../inet/family.ts';
import { DESTINATION_OFFSET, SOURCE_OFFSET, TCP_FLAG, TCP_FLAGS_OFFSET } from '../inet/header.ts';
import { CT_DIRECTION, CT_STATE, IPS } from '../inet/netfilter.ts';
import { portBytes } from '../inet/port.ts';
import { IPPROTO } from '../inet/protocol.ts';
import type { Expression } from '../nftables/expression.ts';
import { KEY } from '../nftables/register.ts';
import type { Verdict } from '../nftables/verdict.ts';

/**
 * The statements of our rules that look at the packet alone, as the expressions that nft makes of the same words, registers
 * included. So what `nft` prints of our ruleset, and what it loads from `render`, is the same program. Those that ask or change
 * our sets and maps are in elements.ts.
 */

export type Statement = readonly Expression[];

/** A number as the kernel keeps it in a register of host order. */
export function host32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

const byte = (value: number) => Buffer.from([value]);

export function verdict(decision: Verdict): Statement {
  return [{ kind: 'immediate', verdict: decision }];
}

export const accept = verdict({ code: 'accept' });
export const drop = verdict({ code: 'drop' });
export const leave = verdict({ code: 'return' });
export const jump = (chain: string) => verdict({ code: 'jump', chain });
export const goto = (chain: string) => verdict({ code: 'goto', chain });

function isEqual(load: Expression, value: Buffer): Statement {
  return [load, { kind: 'cmp', sreg: KEY, op: 'eq', value }];
}

/** `meta nfproto ipv4` */
export function family(name: Family): Statement {
  return isEqual({ kind: 'meta', key: 'nfproto', dreg: KEY }, byte(AF[name]));
}

/** `meta l4proto tcp` */
export function protocol(name: keyof typeof IPPROTO): Statement {
  return isEqual({ kind: 'meta', key: 'l4proto', dreg: KEY }, byte(IPPROTO[name]));
}

/** `meta l4proto != tcp` */
export const otherThanTcp: Statement = [
  { kind: 'meta', key: 'l4proto', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: byte(IPPROTO.tcp) },
];

/** `iif "lo"`: the loopback interface is number 1 in every network namespace. */
export const loopback = isEqual({ kind: 'meta', key: 'iif', dreg: KEY }, host32(1));

/** `iifname "eth0"`, `iifname "wg*"` */
export function interfaceName(name: string): Statement {
  const bytes = name.endsWith('*') ? Buffer.from(name.slice(0, -1)) : Buffer.alloc(16);
  if (!name.endsWith('*')) bytes.write(name);
  return isEqual({ kind: 'meta', key: 'iifname', dreg: KEY }, bytes);
}

function hasBits(load: Expression, bits: number): Statement {
  return [
    load,
    { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: host32(bits) },
    { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(0) },
  ];
}

/** `ct state established`, `ct state invalid,related` */
export function ctState(...states: readonly (keyof typeof CT_STATE)[]): Statement {
  const bits = states.reduce((sum, state) => sum | CT_STATE[state], 0);
  return hasBits({ kind: 'ct', key: 'state', dreg: KEY }, bits);
}

/** `ct direction reply`: the flow began with a packet of the other direction. */
export const isReply = isEqual({ kind: 'ct', key: 'direction', dreg: KEY }, byte(CT_DIRECTION.reply));

/** `ct status assured`: for TCP, the handshake is over. A packet of an unknown flow, or an invalid one, never has this status. */
export const assured = hasBits({ kind: 'ct', key: 'status', dreg: KEY }, IPS.assured);

/** `ct status confirmed`: tracking has let a packet of the flow through before, here or on its way to another host. */
export const confirmed = hasBits({ kind: 'ct', key: 'status', dreg: KEY }, IPS.confirmed);

/** `ct status & (assured | confirmed) == confirmed`: a flow that was let in before, and whose handshake is not over. */
export const halfOpen: Statement = [
  { kind: 'ct', key: 'status', dreg: KEY },
  { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: host32(IPS.assured | IPS.confirmed) },
  { kind: 'cmp', sreg: KEY, op: 'eq', value: host32(IPS.confirmed) },
];

/** `ct state related ct status dnat`: expected by a helper, which redirects it. */
export const expectedElsewhere: Statement = [
  ...ctState('related'),
  ...hasBits({ kind: 'ct', key: 'status', dreg: KEY }, IPS.dnat),
];

/** `ct status assured ct direction original`: the client sends this, and the handshake proved its address. */
export const provenClient: Statement = [
  ...assured,
  ...isEqual({ kind: 'ct', key: 'direction', dreg: KEY }, byte(CT_DIRECTION.original)),
];

/** `tcp dport 80` */
export function tcpPort(port: number): Statement {
  return [
    ...protocol('tcp'),
    ...isEqual({ kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: KEY }, portBytes(port)),
  ];
}

function tcpFlags(mask: number, op: 'eq' | 'neq', value: number): Statement {
  return [
    ...protocol('tcp'),
    { kind: 'payload', base: 'transport', offset: TCP_FLAGS_OFFSET, length: 1, dreg: KEY },
    { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: byte(mask) },
    { kind: 'cmp', sreg: KEY, op, value: byte(value) },
  ];
}

/** `tcp flags & (syn | ack) == syn`: TCP that opens a connection, whatever its other flags. */
export const tcpOpens = tcpFlags(TCP_FLAG.syn | TCP_FLAG.ack, 'eq', TCP_FLAG.syn);

/** `tcp flags & (syn | ack) == syn | ack`: the answer of an open port. */
export const tcpAgrees = tcpFlags(TCP_FLAG.syn | TCP_FLAG.ack, 'eq', TCP_FLAG.syn | TCP_FLAG.ack);

/** `tcp flags & (fin | syn | rst | ack) != syn`: TCP that is no clean SYN. */
export const tcpIsNoSyn = tcpFlags(
  TCP_FLAG.fin | TCP_FLAG.syn | TCP_FLAG.rst | TCP_FLAG.ack,
  'neq',
  TCP_FLAG.syn,
);

/** `tcp flags & (fin | syn | rst) == 0x0`: TCP that neither opens nor ends a connection. */
export const tcpGoesOn = tcpFlags(TCP_FLAG.fin | TCP_FLAG.syn | TCP_FLAG.rst, 'eq', 0);

/** `tcp flags & (fin | rst) == 0x0`: TCP that does not end a connection. */
export const tcpEndsNot = tcpFlags(TCP_FLAG.fin | TCP_FLAG.rst, 'eq', 0);

/**
 * `meta skuid != 4294967295`, at input: a TCP packet for a socket with a peer, which is the packet's source. The kernel looks
 * for such sockets before input ("early demux"), and for listeners after it. No owner of a socket has this number.
 */
export const hasPeer: Statement = [
  ...protocol('tcp'),
  { kind: 'meta', key: 'skuid', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(0xffffffff) },
];

/** `fib daddr type != local` */
export const notToUs: Statement = [
  { kind: 'fib', result: 'daddr type', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(ADDRESS_TYPE.local) },
];

/** `fib daddr type unicast`: to another host. Our own addresses are `local`; broadcast and the like have types of their own. */
export const toOthers: Statement = isEqual(
  { kind: 'fib', result: 'daddr type', dreg: KEY },
  host32(ADDRESS_TYPE.unicast),
);

const saddrType = (type: 'local' | 'anycast' | 'broadcast'): Statement =>
  isEqual({ kind: 'fib', result: 'saddr type', dreg: KEY }, host32(ADDRESS_TYPE[type]));

/** `fib saddr type local`: the packet bears an address of this host. */
export const fromUs = saddrType('local');

/** `fib saddr type anycast`: it bears an address that this host shares with others. */
export const fromAnycast = saddrType('anycast');

/**
 * `ip saddr != 0.0.0.0 fib saddr type broadcast`. To the kernel the address of hosts that have none yet is one for many, too, and
 * a bridge passes on their packets.
 */
export const fromBroadcast: Statement = [
  ...family('ipv4'),
  { kind: 'payload', base: 'network', offset: SOURCE_OFFSET.ipv4, length: 4, dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: Buffer.alloc(4) },
  ...saddrType('broadcast'),
];

/** `ip saddr 127.0.0.0/8` */
export const fromLoopback: Statement = [
  ...family('ipv4'),
  ...isEqual(
    { kind: 'payload', base: 'network', offset: SOURCE_OFFSET.ipv4, length: 1, dreg: KEY },
    byte(127),
  ),
];

/** `fib daddr type broadcast`, `fib daddr type multicast` */
export const toMany = (type: 'broadcast' | 'multicast'): Statement =>
  isEqual({ kind: 'fib', result: 'daddr type', dreg: KEY }, host32(ADDRESS_TYPE[type]));

/** `fib daddr type != broadcast fib daddr type != multicast` */
export const notToMany: Statement = (['broadcast', 'multicast'] as const).flatMap(type => [
  { kind: 'fib', result: 'daddr type', dreg: KEY } as const,
  { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(ADDRESS_TYPE[type]) } as const,
]);

/** `socket wildcard <= 1`: the packet has a socket. */
export const someoneListens: Statement = [
  { kind: 'socket', key: 'wildcard', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'lte', value: byte(1) },
];

/** `meta mark set 0` */
export const clearMark: Statement = [
  { kind: 'immediate', dreg: KEY, value: host32(0) },
  { kind: 'meta', key: 'mark', sreg: KEY },
];

/** `log prefix "used" group 22 queue-threshold 1`: reports each packet at once, without a limit. */
export const reportAtOnce = (prefix: string, group: number): Statement => [
  { kind: 'log', prefix, group, queueThreshold: 1 },
];

/** `counter name ssh_opened` */
export function count(counter: string): Statement {
  return [{ kind: 'objref', counter }];
}

/** `limit rate 100/second burst 100 packets log prefix "opened ssh" group 22` */
export function report(prefix: string, group: number, rate: number): Statement {
  return [
    { kind: 'limit', rate, unit: 'second', burst: rate },
    { kind: 'log', prefix, group },
  ];
}

/** `icmp type echo-request`, `icmpv6 type nd-neighbor-solicit` */
export function icmpType(name: Family, type: number): Statement {
  return [
    ...family(name),
    ...protocol(name === 'ipv4' ? 'icmp' : 'ipv6-icmp'),
    ...isEqual({ kind: 'payload', base: 'transport', offset: 0, length: 1, dreg: KEY }, byte(type)),
  ];
}

/** `ip6 hoplimit 255`: not routed. The family must have been matched. */
export const hopLimit255 = isEqual(
  { kind: 'payload', base: 'network', offset: 7, length: 1, dreg: KEY },
  byte(255),
);

/** `ip saddr 169.254.0.0/16`, `ip6 saddr fe80::/10`. The family must have been matched. */
export function fromLinkLocal(name: Family): Statement {
  return linkLocal(name, SOURCE_OFFSET[name]);
}

/** `ip6 daddr fe80::/10`. The family must have been matched. */
export const toLinkLocal = linkLocal('ipv6', DESTINATION_OFFSET.ipv6);

/** `ip6 daddr != fe80::/10`. The family must have been matched. */
export const notToLinkLocal = linkLocal('ipv6', DESTINATION_OFFSET.ipv6, 'neq');

function linkLocal(name: Family, offset: number, op: 'eq' | 'neq' = 'eq'): Statement {
  const { network, length } = LINK_LOCAL[name];
  const whole = length === network.length * 8;
  return [
    { kind: 'payload', base: 'network', offset, length: network.length, dreg: KEY },
    ...(whole
      ? []
      : [{ kind: 'bitwise', sreg: KEY, dreg: KEY, mask: prefixMask(network.length, length) } as const]),
    { kind: 'cmp', sreg: KEY, op, value: network },
  ];
}

/** `udp dport 546`. The protocol must have been matched. */
export function udpPort(port: number): Statement {
  return isEqual({ kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: KEY }, portBytes(port));
}

/** `udp sport 67 udp dport 68`, which nft makes into one comparison. The protocol must have been matched. */
export function udpPorts(source: number, destination: number): Statement {
  return isEqual(
    { kind: 'payload', base: 'transport', offset: 0, length: 4, dreg: KEY },
    Buffer.concat([portBytes(source), portBytes(destination)]),
  );
}
