export type Family = 'ipv4' | 'ipv6';

export const FAMILIES = ['ipv4', 'ipv6'] as const satisfies readonly Family[];

/** AF_INET and AF_INET6 of include/linux/socket.h. NFPROTO_IPV4 and NFPROTO_IPV6 are the same numbers. */
export const AF = { ipv4: 2, ipv6: 10 } as const satisfies Record<Family, number>;

/** Bytes of an address. */
export const ADDRESS_SIZE = { ipv4: 4, ipv6: 16 } as const satisfies Record<Family, number>;

/** The family of an address of 4 or 16 bytes. */
export function familyOf(address: Uint8Array): Family {
  return address.length === ADDRESS_SIZE.ipv4 ? 'ipv4' : 'ipv6';
}
