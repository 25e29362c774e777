import { prefixMask } from '../inet/address.ts';
import { ADDRESS_SIZE, type Family } from '../inet/family.ts';
import { DESTINATION_OFFSET, SOURCE_OFFSET, UDP_HEADER } from '../inet/header.ts';
import { portBytes } from '../inet/port.ts';
import type { Expression } from '../nftables/expression.ts';
import { KEY, type Register, register, VERDICT } from '../nftables/register.ts';
import { TOKEN_OFFSET } from '../token/packet.ts';
import { TOKEN_LENGTH } from '../token/read.ts';
import { family, protocol, type Statement } from './match.ts';

/** The statements of our rules that ask our sets and maps, or change them, with something of the packet as the key. */

const TOKEN_IN = {
  datagram: { base: 'transport', offset: UDP_HEADER + TOKEN_OFFSET, length: TOKEN_LENGTH },
  segment: { base: 'inner', offset: TOKEN_OFFSET, length: TOKEN_LENGTH },
} as const;
/** The first register that a token leaves free. A token fills eight, and overwrites what stands in one of them. */
const BEHIND_TOKEN = register(TOKEN_LENGTH / 4);

/** The client that a packet is from: the first `length` bits of its source address. The family must have been matched. */
export interface Source {
  readonly family: Family;
  readonly length: number;
}

function loadSource({ family: name, length }: Source, dreg: Register = KEY): Statement {
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
function client(source: Source): Statement {
  return [...family(source.family), ...loadSource(source)];
}

/** `ip saddr @set` */
export function clientIn(source: Source, set: string): Statement {
  return [...client(source), { kind: 'lookup', set, sreg: KEY }];
}

/** `ip daddr @set` */
export function addressedTo(name: Family, set: string): Statement {
  const [offset, length] = [DESTINATION_OFFSET[name], ADDRESS_SIZE[name]];
  return [
    ...family(name),
    { kind: 'payload', base: 'network', offset, length, dreg: KEY },
    { kind: 'lookup', set, sreg: KEY },
  ];
}

/** `ip saddr != @set`, which leaves the limits of the set's elements alone. */
export function clientNotIn(source: Source, set: string): Statement {
  return [...client(source), { kind: 'lookup', set, sreg: KEY, inverted: true }];
}

/** `ip saddr . tcp sport . tcp dport`, always with the whole address. */
function loadConnection(name: Family): Statement {
  const words = ADDRESS_SIZE[name] / 4;
  return [
    ...loadSource({ family: name, length: words * 32 }),
    { kind: 'payload', base: 'transport', offset: 0, length: 2, dreg: register(words) },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(words + 1) },
  ];
}

/** The key that this loads: each port fills a register. */
export function connectionKey(peer: Uint8Array, peerPort: number, port: number): Buffer {
  const inRegister = (value: number) => Buffer.concat([portBytes(value), Buffer.alloc(2)]);
  return Buffer.concat([peer, inRegister(peerPort), inRegister(port)]);
}

/** `ip saddr . tcp sport . tcp dport @set` */
export function connectionIn(name: Family, set: string): Statement {
  return [...family(name), ...protocol('tcp'), ...loadConnection(name), { kind: 'lookup', set, sreg: KEY }];
}

/** `update @set { ip saddr . tcp sport . tcp dport timeout 75s }`, after family and protocol were matched. */
export function changeConnection(
  name: Family,
  change: { readonly op: 'update' | 'delete'; readonly set: string; readonly timeout?: number },
): Statement {
  return [...loadConnection(name), { kind: 'dynset', key: KEY, ...change }];
}

/** `meta l4proto . th dport vmap @map` */
export function portVerdict(map: string): Statement {
  return [
    { kind: 'meta', key: 'l4proto', dreg: KEY },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(1) },
    { kind: 'lookup', set: map, sreg: KEY, dreg: VERDICT },
  ];
}

/** `udp sport @set` */
export const fromPortIn = (set: string): Statement => datagramPortIn(0, set);

/** `udp dport @set` */
export const toPortIn = (set: string): Statement => datagramPortIn(2, set);

function datagramPortIn(offset: number, set: string): Statement {
  return [
    ...protocol('udp'),
    { kind: 'payload', base: 'transport', offset, length: 2, dreg: KEY },
    { kind: 'lookup', set, sreg: KEY },
  ];
}

const setMark: Expression = { kind: 'meta', key: 'mark', sreg: KEY };

/** `meta mark set ip saddr map @map` */
export function markFromClient(source: Source, map: string): Statement {
  return [...client(source), { kind: 'lookup', set: map, sreg: KEY, dreg: KEY }, setMark];
}

/** `meta mark set meta mark . meta l4proto . th dport map @map` */
export function markFromKnock(map: string): Statement {
  return [
    { kind: 'meta', key: 'mark', dreg: KEY },
    { kind: 'meta', key: 'l4proto', dreg: register(1) },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, dreg: register(2) },
    { kind: 'lookup', set: map, sreg: KEY, dreg: KEY },
    setMark,
  ];
}

/** `meta mark vmap @map` */
export function markVerdict(map: string): Statement {
  return [
    { kind: 'meta', key: 'mark', dreg: KEY },
    { kind: 'lookup', set: map, sreg: KEY, dreg: VERDICT },
  ];
}

/** How the packet changes a set or a map. */
interface Change {
  readonly op: 'add' | 'update' | 'delete';
  readonly set: string;
  readonly timeout?: number;
  /** For a map: the element holds the mark. */
  readonly mark?: boolean;
  readonly limit?: Extract<Expression, { kind: 'limit' }>;
}

/** `add @progress_ipv4 { ip saddr timeout 5s : meta mark }`, after the family was matched. */
export function change(source: Source, { mark, ...rest }: Change): Statement {
  const data = register(4);
  return [
    ...loadSource(source),
    ...(mark ? [{ kind: 'meta', key: 'mark', dreg: data } as const] : []),
    { kind: 'dynset', key: KEY, ...(mark && { data }), ...rest },
  ];
}

/** The place of a token: in a datagram, or in the data of a segment. */
export type TokenIn = keyof typeof TOKEN_IN;

const loadToken = (where: TokenIn): Expression => ({ kind: 'payload', ...TOKEN_IN[where], dreg: KEY });

/** `udp length < 64`: too short for a token. The protocol must have been matched. */
export const tooShort: Statement = [
  { kind: 'payload', base: 'transport', offset: 4, length: 2, dreg: KEY },
  { kind: 'cmp', sreg: KEY, op: 'lt', value: portBytes(UDP_HEADER + TOKEN_OFFSET + TOKEN_LENGTH) },
];

/** `@th,256,256 != @used` */
export const tokenNotIn = (set: string, where: TokenIn): Statement => [
  loadToken(where),
  { kind: 'lookup', set, sreg: KEY, inverted: true },
];

/** `meta mark set @th,256,256 map @tokens` */
export const markFromToken = (map: string, where: TokenIn): Statement => [
  loadToken(where),
  { kind: 'lookup', set: map, sreg: KEY, dreg: KEY },
  setMark,
];

/** `add @used { @th,256,256 timeout 26h limit rate 1/week burst 1 packets }`: lets each token pass once. */
export const useToken = (set: string, timeout: number, where: TokenIn): Statement => [
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
export const deleteToken = (map: string, where: TokenIn): Statement => [
  loadToken(where),
  { kind: 'meta', key: 'mark', dreg: BEHIND_TOKEN },
  { kind: 'dynset', op: 'delete', set: map, key: KEY, data: BEHIND_TOKEN },
];
