import { ADDRESS_TYPE, LINK_LOCAL, prefixMask } from '../inet/address.ts';
import { ADDRESS_SIZE, AF, type Family } from '../inet/family.ts';
import { DESTINATION_OFFSET, SOURCE_OFFSET, TCP_FLAG, TCP_FLAGS_OFFSET, UDP_HEADER } from '../inet/header.ts';
import { CT_DIRECTION, CT_STATE, IPS } from '../inet/netfilter.ts';
import { portBytes } from '../inet/port.ts';
import { IPPROTO } from '../inet/protocol.ts';
import type { Expression } from '../nftables/expression.ts';
import { KEY, type Register, register, VERDICT } from '../nftables/register.ts';
import type { Verdict } from '../nftables/verdict.ts';
import { TOKEN_OFFSET } from '../token/packet.ts';
import { TOKEN_LENGTH } from '../token/read.ts';

/**
 * The statements of our rules, as the expressions that nft makes of the same words, registers included. So what `nft`
 * prints of our ruleset, and what it loads from `render`, is the same program.
 */

type Expressions = readonly Expression[];

const TOKEN_IN = {
  datagram: { base: 'transport', offset: UDP_HEADER + TOKEN_OFFSET, length: TOKEN_LENGTH },
  segment: { base: 'inner', offset: TOKEN_OFFSET, length: TOKEN_LENGTH },
} as const;
/** The first register that a token leaves free. A token fills eight, and overwrites what stands in one of them. */
const BEHIND_TOKEN = register(TOKEN_LENGTH / 4);

/** A number as the kernel keeps it in a register of host order. */
export function host32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

const byte = (value: number) => Buffer.from([value]);

export function verdict(decision: Verdict): Expressions {
  return [{ kind: 'immediate', verdict: decision }];
}

export const accept = verdict({ code: 'accept' });
export const drop = verdict({ code: 'drop' });
export const leave = verdict({ code: 'return' });
export const jump = (chain: string) => verdict({ code: 'jump', chain });
export const goto = (chain: string) => verdict({ code: 'goto', chain });

function isEqual(load: Expression, value: Buffer): Expressions {
  return [load, { kind: 'cmp', sreg: KEY, op: 'eq', value }];
}

/** `meta nfproto ipv4` */
export function family(name: Family): Expressions {
  return isEqual({ kind: 'meta', key: 'nfproto', dreg: KEY }, byte(AF[name]));
}

/** `meta l4proto tcp` */
export function protocol(name: keyof typeof IPPROTO): Expressions {
  return isEqual({ kind: 'meta', key: 'l4proto', dreg: KEY }, byte(IPPROTO[name]));
}

/** `meta l4proto != tcp` */
export const otherThanTcp: Expressions = [
  { kind: 'meta', key: 'l4proto', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: byte(IPPROTO.tcp) },
];

/** `iif "lo"`: the loopback interface is number 1 in every network namespace. */
export const loopback = isEqual({ kind: 'meta', key: 'iif', dreg: KEY }, host32(1));

/** `iifname "eth0"`, `iifname "wg*"` */
export function interfaceName(name: string): Expressions {
  const bytes = name.endsWith('*') ? Buffer.from(name.slice(0, -1)) : Buffer.alloc(16);
  if (!name.endsWith('*')) bytes.write(name);
  return isEqual({ kind: 'meta', key: 'iifname', dreg: KEY }, bytes);
}

function hasBits(load: Expression, bits: number): Expressions {
  return [
    load,
    { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: host32(bits) },
    { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(0) },
  ];
}

/** `ct state established` */
export function ctState(state: keyof typeof CT_STATE): Expressions {
  return hasBits({ kind: 'ct', key: 'state', dreg: KEY }, CT_STATE[state]);
}

/** `ct direction reply`: the flow began with a packet of the other direction. */
export const isReply = isEqual({ kind: 'ct', key: 'direction', dreg: KEY }, byte(CT_DIRECTION.reply));

/** `ct status assured`: for TCP, the handshake is over. A packet of an unknown flow, or an invalid one, never has this status. */
export const assured = hasBits({ kind: 'ct', key: 'status', dreg: KEY }, IPS.assured);

/** `ct status confirmed`: packets of a flow that was let in before, and nothing else. */
export const confirmed = hasBits({ kind: 'ct', key: 'status', dreg: KEY }, IPS.confirmed);

/** `ct status & (assured | confirmed) == confirmed`: a flow that was let in before, and whose handshake is not over. */
export const halfOpen: Expressions = [
  { kind: 'ct', key: 'status', dreg: KEY },
  { kind: 'bitwise', sreg: KEY, dreg: KEY, mask: host32(IPS.assured | IPS.confirmed) },
  { kind: 'cmp', sreg: KEY, op: 'eq', value: host32(IPS.confirmed) },
];

/** `ct status assured ct direction original`: the client sends this, and the handshake proved its address. */
export const provenClient: Expressions = [
  ...assured,
  ...isEqual({ kind: 'ct', key: 'direction', dreg: KEY }, byte(CT_DIRECTION.original)),
];

/** `tcp dport 80` */
export function tcpPort(port: number): Expressions {
  return [
    ...protocol('tcp'),
    ...isEqual({ kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: KEY }, portBytes(port)),
  ];
}

function tcpFlags(mask: number, op: 'eq' | 'neq', value: number): Expressions {
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
export const hasPeer: Expressions = [
  ...protocol('tcp'),
  { kind: 'meta', key: 'skuid', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(0xffffffff) },
];

/** `fib daddr type != local` */
export const notToUs: Expressions = [
  { kind: 'fib', result: 'daddr type', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'neq', value: host32(ADDRESS_TYPE.local) },
];

/** `fib daddr type unicast`: to another host. Our own addresses are `local`; broadcast and the like have types of their own. */
export const toOthers: Expressions = isEqual(
  { kind: 'fib', result: 'daddr type', dreg: KEY },
  host32(ADDRESS_TYPE.unicast),
);

/** `fib daddr type broadcast` */
export const toMany = (type: 'broadcast' | 'multicast'): Expressions =>
  isEqual({ kind: 'fib', result: 'daddr type', dreg: KEY }, host32(ADDRESS_TYPE[type]));

/** `socket wildcard <= 1`: the packet has a socket. */
export const someoneListens: Expressions = [
  { kind: 'socket', key: 'wildcard', dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'lte', value: byte(1) },
];

/** The client that a packet is from: the first `length` bits of its source address. The family must have been matched. */
export interface Source {
  readonly family: Family;
  readonly length: number;
}

function loadSource({ family: name, length }: Source, dreg: Register = KEY): Expressions {
  const size = ADDRESS_SIZE[name];
  const load: Expression = {
    kind: 'payload',
    base: 'network',
    offset: SOURCE_OFFSET[name],
    length: size,
    dreg,
  };
  if (length === size * 8) return [load];
  return [load, { kind: 'bitwise', sreg: dreg, dreg, mask: prefixMask(size, length) }];
}

/** `ip saddr & 255.255.255.0`: loads the client as the key for the next expression. */
export function client(source: Source): Expressions {
  return [...family(source.family), ...loadSource(source)];
}

/** `ip saddr @set` */
export function clientIn(source: Source, set: string): Expressions {
  return [...client(source), { kind: 'lookup', set, sreg: KEY }];
}

/** `ip daddr @set` */
export function addressedTo(name: Family, set: string): Expressions {
  const [offset, length] = [DESTINATION_OFFSET[name], ADDRESS_SIZE[name]];
  return [
    ...family(name),
    { kind: 'payload', base: 'network', offset, length, dreg: KEY },
    { kind: 'lookup', set, sreg: KEY },
  ];
}

/** `ip saddr != @set`, which leaves the limits of the set's elements alone. */
export function clientNotIn(source: Source, set: string): Expressions {
  return [...client(source), { kind: 'lookup', set, sreg: KEY, inverted: true }];
}

/** `ip saddr . tcp sport . tcp dport`, always with the whole address. */
function loadConnection(name: Family): Expressions {
  const words = ADDRESS_SIZE[name] / 4;
  return [
    ...loadSource({ family: name, length: words * 32 }),
    { kind: 'payload', base: 'transport', offset: 0, length: 2, dreg: register(words) },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(words + 1) },
  ];
}

/** `ip saddr . tcp sport . tcp dport @set` */
export function connectionIn(name: Family, set: string): Expressions {
  return [...family(name), ...protocol('tcp'), ...loadConnection(name), { kind: 'lookup', set, sreg: KEY }];
}

/** `update @set { ip saddr . tcp sport . tcp dport timeout 75s }`, after family and protocol were matched. */
export function changeConnection(
  name: Family,
  change: { readonly op: 'update' | 'delete'; readonly set: string; readonly timeout?: number },
): Expressions {
  return [...loadConnection(name), { kind: 'dynset', key: KEY, ...change }];
}

/** `meta l4proto . th dport vmap @map` */
export function portVerdict(map: string): Expressions {
  return [
    { kind: 'meta', key: 'l4proto', dreg: KEY },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(1) },
    { kind: 'lookup', set: map, sreg: KEY, dreg: VERDICT },
  ];
}

/** `meta mark set 0` */
export const clearMark: Expressions = [
  { kind: 'immediate', dreg: KEY, value: host32(0) },
  { kind: 'meta', key: 'mark', sreg: KEY },
];

const setMark: Expression = { kind: 'meta', key: 'mark', sreg: KEY };

/** `meta mark set ip saddr map @map` */
export function markFromClient(source: Source, map: string): Expressions {
  return [...client(source), { kind: 'lookup', set: map, sreg: KEY, dreg: KEY }, setMark];
}

/** `meta mark set meta mark . meta l4proto . th dport map @map` */
export function markFromKnock(map: string): Expressions {
  return [
    { kind: 'meta', key: 'mark', dreg: KEY },
    { kind: 'meta', key: 'l4proto', dreg: register(1) },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(2) },
    { kind: 'lookup', set: map, sreg: KEY, dreg: KEY },
    setMark,
  ];
}

/** `meta mark vmap @map` */
export function markVerdict(map: string): Expressions {
  return [
    { kind: 'meta', key: 'mark', dreg: KEY },
    { kind: 'lookup', set: map, sreg: KEY, dreg: VERDICT },
  ];
}

/** How the packet changes a set or a map. */
export interface Change {
  readonly op: 'add' | 'update' | 'delete';
  readonly set: string;
  readonly timeout?: number;
  /** For a map: the element holds the mark. */
  readonly mark?: boolean;
  readonly limit?: Extract<Expression, { kind: 'limit' }>;
}

/** `add @progress_ipv4 { ip saddr timeout 5s : meta mark }`, after the family was matched. */
export function change(source: Source, { mark, ...rest }: Change): Expressions {
  const data = register(4);
  return [
    ...loadSource(source),
    ...(mark ? [{ kind: 'meta', key: 'mark', dreg: data } as const] : []),
    { kind: 'dynset', key: KEY, ...(mark && { data }), ...rest },
  ];
}

/** Where to look for a token: in a datagram, or in the data of a segment. */
export type TokenIn = keyof typeof TOKEN_IN;

const loadToken = (where: TokenIn): Expression => ({ kind: 'payload', ...TOKEN_IN[where], dreg: KEY });

/** `udp length < 64`: too short for a token. The protocol must have been matched. */
export const tooShort: Expressions = [
  { kind: 'payload', base: 'transport', offset: 4, length: 2, dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'lt', value: portBytes(UDP_HEADER + TOKEN_OFFSET + TOKEN_LENGTH) },
];

/** `@th,256,256 != @used` */
export const tokenNotIn = (set: string, where: TokenIn): Expressions => [
  loadToken(where),
  { kind: 'lookup', set, sreg: KEY, inverted: true },
];

/** `meta mark set @th,256,256 map @tokens` */
export const markFromToken = (map: string, where: TokenIn): Expressions => [
  loadToken(where),
  { kind: 'lookup', set: map, sreg: KEY, dreg: KEY },
  setMark,
];

/** `add @used { @th,256,256 timeout 26h limit rate 1/week burst 1 packets }`: lets each token pass once. */
export const useToken = (set: string, timeout: number, where: TokenIn): Expressions => [
  loadToken(where),
  {
    kind: 'dynset',
    op: 'add',
    set,
    key: KEY,
    timeout,
    limit: { kind: 'limit', rate: 1, unit: 'week', burst: 1 },
  },
];

/** `delete @tokens { @th,256,256 : meta mark }` */
export const deleteToken = (map: string, where: TokenIn): Expressions => [
  loadToken(where),
  { kind: 'meta', key: 'mark', dreg: BEHIND_TOKEN },
  { kind: 'dynset', op: 'delete', set: map, key: KEY, data: BEHIND_TOKEN },
];

/** `log prefix "used" group 22 queue-threshold 1`: reports each packet at once, without a limit. */
export const reportAtOnce = (prefix: string, group: number): Expressions => [
  { kind: 'log', prefix, group, queueThreshold: 1 },
];

/** `counter name ssh_opened` */
export function count(counter: string): Expressions {
  return [{ kind: 'objref', counter }];
}

/** `limit rate 100/second burst 100 packets log prefix "opened ssh" group 22` */
export function report(prefix: string, group: number, rate: number): Expressions {
  return [
    { kind: 'limit', rate, unit: 'second', burst: rate },
    { kind: 'log', prefix, group },
  ];
}

/** `icmp type echo-request`, `icmpv6 type nd-neighbor-solicit` */
export function icmpType(name: Family, type: number): Expressions {
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
export function fromLinkLocal(name: Family): Expressions {
  return linkLocal(name, SOURCE_OFFSET[name]);
}

/** `ip6 daddr fe80::/10`. The family must have been matched. */
export const toLinkLocal = linkLocal('ipv6', DESTINATION_OFFSET.ipv6);

function linkLocal(name: Family, offset: number): Expressions {
  const { network, length } = LINK_LOCAL[name];
  const whole = length === network.length * 8;
  return [
    { kind: 'payload', base: 'network', offset, length: network.length, dreg: KEY },
    ...(whole
      ? []
      : [{ kind: 'bitwise', sreg: KEY, dreg: KEY, mask: prefixMask(network.length, length) } as const]),
    { kind: 'cmp', sreg: KEY, op: 'eq', value: network },
  ];
}

/** `udp dport 546`. The protocol must have been matched. */
export function udpPort(port: number): Expressions {
  return isEqual({ kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: KEY }, portBytes(port));
}

/** `udp sport 67 udp dport 68`, which nft makes into one comparison. The protocol must have been matched. */
export function udpPorts(source: number, destination: number): Expressions {
  return isEqual(
    { kind: 'payload', base: 'transport', offset: 0, length: 4, dreg: KEY },
    Buffer.concat([portBytes(source), portBytes(destination)]),
  );
}
