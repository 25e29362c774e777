import type { Family } from '../config/types.ts';
import { DATATYPES } from '../nftables/datatype.ts';

/** A client as people read it: `192.0.2.7`, or `2001:db8::/64` if the first `length` bits of an address are one client. */
export function clientText(family: Family, key: Buffer, length: number): string {
  const text = addressText(family, key);
  return length === key.length * 8 ? text : `${text}/${length}`;
}

/** The text of an address of 4 or 16 bytes. */
export function addressText(family: Family, address: Buffer): string {
  return (family === 'ipv4' ? DATATYPES.ipv4_addr : DATATYPES.ipv6_addr).text(address);
}
