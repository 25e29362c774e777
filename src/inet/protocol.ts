/** Protocols with ports that can be guarded and knocked on. */
export type Protocol = 'tcp' | 'udp';

/** include/uapi/linux/in.h and in6.h, under nft's names. */
export const IPPROTO = { icmp: 1, igmp: 2, tcp: 6, udp: 17, 'ipv6-icmp': 58 } as const;
