import type { Family } from '../inet/family.ts';
import { formatNetwork } from '../inet/network.ts';

/** A client as people read it: `192.0.2.7`, or `2001:db8::/64` if the first `length` bits of an address are one client. */
export function clientText(family: Family, key: Buffer, length: number): string {
  return formatNetwork({ family, address: key, length });
}
