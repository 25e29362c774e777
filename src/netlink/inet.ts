/** The kernel's numbers for families and protocols of the Internet: include/linux/socket.h, uapi/linux/in.h. */

export const AF_INET = 2;
export const AF_INET6 = 10;
export const IPPROTO = { icmp: 1, igmp: 2, tcp: 6, udp: 17, 'ipv6-icmp': 58 } as const;

/** Protocols with ports. */
export type Transport = 'tcp' | 'udp';
