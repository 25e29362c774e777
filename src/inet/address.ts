// inet/ is what all floors mean by family, protocol, port, address, network and duration, with their texts.
// The kernel's numbers for them stand here, once.
// Floor 0: it imports from no other room.

import ipaddr from 'ipaddr.js';

/** Addresses of 4 or 16 bytes in network order: their text, their masks, and what kinds of them there are. */

/** The bytes of an address in text, without a zone. Throws if the text is no address. */
export function parseAddress(text: string): Buffer {
  return Buffer.from(ipaddr.parse(text).toByteArray());
}

/** As RFC 5952 has it, and as nft prints it. */
export function formatAddress(address: Uint8Array): string {
  const parsed = ipaddr.fromByteArray([...address]);
  return parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
}

/** The mask for the first `length` bits of an address of `size` bytes. */
export function prefixMask(size: number, length: number): Buffer {
  return Buffer.from(
    Uint8Array.from({ length: size }, (_, index) => 0xff00 >> Math.min(8, Math.max(0, length - index * 8))),
  );
}

/** The address with all but its first `length` bits set to 0. */
export function masked(address: Uint8Array, length: number): Buffer {
  const mask = prefixMask(address.length, length);
  return Buffer.from(address.map((byte, index) => byte & (mask[index] ?? 0)));
}

/** ::ffff:0:0/96 */
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** The IPv4 address in a mapped one; any other as it is. */
export function unmapped(address: Buffer): Buffer {
  return address.length === 16 && address.subarray(0, 12).equals(MAPPED) ? address.subarray(12) : address;
}

/** 127.0.0.0/8 and ::1 */
export function isLoopback(address: Uint8Array): boolean {
  if (address.length === 4) return address[0] === 127;
  return address[15] === 1 && address.subarray(0, 15).every(byte => byte === 0);
}

/** Link-local addresses, which every link has (RFC 3927, RFC 4291): the first bytes, as nft compares them, and the prefix length. */
export const LINK_LOCAL = {
  ipv4: { network: Buffer.from([169, 254]), length: 16 },
  ipv6: { network: Buffer.from('fe80'.padEnd(32, '0'), 'hex'), length: 10 },
} as const;

export function isLinkLocal(address: Uint8Array): boolean {
  const { network, length } = LINK_LOCAL[address.length === 4 ? 'ipv4' : 'ipv6'];
  return masked(address.subarray(0, network.length), length).equals(network);
}

/** Whether no single host has the address: it is unspecified (as 0.0.0.0 and ::), multicast or broadcast. */
export function isNoHost(address: Uint8Array): boolean {
  return ['unspecified', 'multicast', 'broadcast'].includes(ipaddr.fromByteArray([...address]).range());
}

/** Whether the address is in no range for special purposes, such as private networks (ipaddr.js knows IANA's registries). */
export function isPublic(address: Uint8Array): boolean {
  return ipaddr.fromByteArray([...address]).range() === 'unicast';
}

/** RTN_* of include/uapi/linux/rtnetlink.h, under nft's names: the type of an address in the routing table. */
export const ADDRESS_TYPE = { unicast: 1, local: 2, broadcast: 3, anycast: 4, multicast: 5 } as const;
