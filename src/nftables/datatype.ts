import { ADDRESS_TYPE, formatAddress } from '../inet/address.ts';
import { AF } from '../inet/family.ts';
import { ICMP_TYPE, ICMPV6_TYPE, TCP_FLAG } from '../inet/header.ts';
import { CT_DIRECTION, CT_STATE, IPS } from '../inet/netfilter.ts';
import { IPPROTO } from '../inet/protocol.ts';
import type { ByteOrder } from './userdata.ts';

/**
 * The meaning of the bytes in a register or an element, under nft's name for it. `code` is nft's number for the type
 * (include/datatype.h, enum datatypes). The kernel stores that with a set and never looks at it.
 */
export interface Datatype {
  readonly name: string;
  readonly code: number;
  /** In bytes. In a concatenation, each part is padded to a multiple of 4. */
  readonly size: number;
  /** For numbers in host order. All other values are as on the wire. */
  readonly host?: true;
  /** The expression that has such values. A type without a name of its own is written as `typeof` that. */
  readonly of?: Expressed;
  readonly text: (value: Buffer) => string;
}

/** An expression in nft's words, and its numbers for the userdata of a set (nft's enum expr_types and its udata). */
export interface Expressed {
  readonly text: string;
  readonly type: number;
  readonly fields: readonly number[];
}

/** Bits for one type in the number of a concatenation. */
const TYPE_BITS = 6;

const hex = (value: Buffer) => `0x${value.toString('hex')}`;

/** The text of a value that has the size of its type. In rules of others a value may have any number of bytes. */
function sized(size: number, text: (value: Buffer) => string): (value: Buffer) => string {
  return value => (value.length === size ? text(value) : hex(value));
}

function symbols(
  code: number,
  name: string,
  size: number,
  numbers: Readonly<Record<string, number>>,
  read = (value: Buffer) => value.readUIntBE(0, size),
): Datatype {
  const names = new Map(Object.entries(numbers).map(([word, number]) => [number, word]));
  return { name, code, size, text: sized(size, value => names.get(read(value)) ?? String(read(value))) };
}

/** A type whose values are sets of named bits. */
function bits(
  code: number,
  name: string,
  size: number,
  numbers: Readonly<Record<string, number>>,
  join: string,
) {
  return {
    name,
    code,
    size,
    text: sized(size, value => {
      const set = size === 1 ? value.readUInt8(0) : value.readUInt32LE(0);
      const known = Object.keys(numbers).filter(word => set & (numbers[word] ?? 0));
      return known.length > 0 ? known.join(join) : `0x${set.toString(16)}`;
    }),
  } satisfies Datatype;
}

const decimal = (code: number, name: string, size: number): Datatype => ({
  name,
  code,
  size,
  text: sized(size, value => String(value.readUIntBE(0, size))),
});

export const DATATYPES = {
  nf_proto: symbols(2, 'nf_proto', 1, AF),
  integer: { name: 'integer', code: 4, size: 4, text: hex },
  ipv4_addr: { name: 'ipv4_addr', code: 7, size: 4, text: sized(4, formatAddress) },
  ipv6_addr: { name: 'ipv6_addr', code: 8, size: 16, text: sized(16, formatAddress) },
  inet_proto: symbols(12, 'inet_proto', 1, IPPROTO),
  inet_service: decimal(13, 'inet_service', 2),
  icmp_type: symbols(14, 'icmp_type', 1, ICMP_TYPE),
  tcp_flag: bits(15, 'tcp_flag', 1, TCP_FLAG, ' | '),
  mark: {
    name: 'mark',
    code: 19,
    size: 4,
    host: true,
    // EXPR_META, NFT_META_MARK
    of: { text: 'meta mark', type: 9, fields: [3] },
    text: sized(4, value => `0x${value.readUInt32LE(0).toString(16).padStart(8, '0')}`),
  },
  iface_index: {
    name: 'iface_index',
    code: 20,
    size: 4,
    text: sized(4, value => (value.readUInt32LE(0) === 1 ? '"lo"' : String(value.readUInt32LE(0)))),
  },
  uid: { name: 'uid', code: 24, size: 4, host: true, text: sized(4, value => String(value.readUInt32LE(0))) },
  ct_state: bits(26, 'ct_state', 4, CT_STATE, ','),
  ct_dir: symbols(27, 'ct_dir', 1, CT_DIRECTION),
  ct_status: bits(28, 'ct_status', 4, IPS, ','),
  icmpv6_type: symbols(29, 'icmpv6_type', 1, ICMPV6_TYPE),
  ifname: {
    name: 'ifname',
    code: 41,
    size: 16,
    // a value shorter than a whole name is the part before a wildcard
    text: value =>
      JSON.stringify(value.length < 16 ? `${value.toString()}*` : value.toString().replace(/\0+$/, '')),
  },
  fib_addrtype: symbols(45, 'fib_addrtype', 4, ADDRESS_TYPE, value => value.readUInt32LE(0)),
  /** Source and destination port in one value. nft writes and reads them as two. */
  udp_ports: {
    name: 'integer',
    code: 4,
    size: 4,
    text: sized(4, value => `${value.readUInt16BE(0)} udp dport ${value.readUInt16BE(2)}`),
  },
  /** The first half of an address. For a /16, nft compares no more. */
  ipv4_half: {
    name: 'integer',
    code: 4,
    size: 2,
    text: sized(2, value => `${value.readUInt8(0)}.${value.readUInt8(1)}.0.0/16`),
  },
  /** The first byte of an address, as nft compares a /8. */
  ipv4_first: {
    name: 'integer',
    code: 4,
    size: 1,
    text: sized(1, value => `${value.readUInt8(0)}.0.0.0/8`),
  },
  /** 32 bytes of a datagram, starting at byte 24 of its data. */
  token: {
    name: 'integer',
    code: 4,
    size: 32,
    // EXPR_PAYLOAD: no protocol, no field, the transport header (PROTO_BASE_TRANSPORT_HDR), offset and length in bits
    of: { text: '@th,256,256', type: 7, fields: [0, 0, 3, 256, 256] },
    text: hex,
  },
  /** A number in one byte, such as a hop limit or the wildcard of a socket. */
  byte: decimal(4, 'integer', 1),
} as const satisfies Record<string, Datatype>;

const BY_CODE = new Map<number, Datatype>(
  Object.values(DATATYPES)
    .filter(type => type.code !== DATATYPES.integer.code || type === DATATYPES.integer)
    .map(type => [type.code, type]),
);

const padded = (size: number) => (size + 3) & ~3;

/** nft's number for a key of these types: 6 bits for each, the first in the highest. */
export function encodeDatatypes(types: readonly Datatype[]): number {
  return types.reduce((code, type) => (code << TYPE_BITS) | type.code, 0);
}

/** The types in the number of a key of `size` bytes; undefined unless all are known. */
export function decodeDatatypes(code: number, size?: number): readonly Datatype[] | undefined {
  if (code === DATATYPES.token.code && size === DATATYPES.token.size) return [DATATYPES.token];
  const types: Datatype[] = [];
  for (let rest = code; rest > 0; rest >>>= TYPE_BITS) {
    const type = BY_CODE.get(rest & ((1 << TYPE_BITS) - 1));
    if (!type) return undefined;
    types.unshift(type);
  }
  return types.length > 0 ? types : undefined;
}

/** The size of a key of these types, in bytes. */
export function keySize(types: readonly Datatype[]): number {
  const [only] = types;
  return types.length === 1 && only ? only.size : types.reduce((size, type) => size + padded(type.size), 0);
}

/** The values of a key of these types, each as a view of its bytes. */
export function splitKey(types: readonly Datatype[], key: Buffer): Buffer[] {
  let at = 0;
  return types.map(type => {
    const value = key.subarray(at, at + type.size);
    at += padded(type.size);
    return value;
  });
}

/** The byte order of a key or data of these types. */
export function byteOrder(types: readonly Datatype[]): ByteOrder {
  const [only] = types;
  return types.length !== 1 || !only ? 'none' : only.host ? 'host' : 'big';
}

/** A key as nft writes it: `0x00000001 . tcp . 2345`. */
export function keyText(types: readonly Datatype[], key: Buffer): string {
  return splitKey(types, key)
    .map((value, index) => types[index]?.text(value) ?? '')
    .join(' . ');
}
