/** The headers of packets: offsets in bytes, and the numbers in the fields, under nft's names. */

/** The source address in the header of IPv4 or IPv6. The destination comes right after it. */
export const SOURCE_OFFSET = { ipv4: 12, ipv6: 8 } as const;
export const DESTINATION_OFFSET = { ipv4: 16, ipv6: 24 } as const;

/** The header of UDP. */
export const UDP_HEADER = 8;

/** RFC 9293. The flags are at {@link TCP_FLAGS_OFFSET}. */
export const TCP_FLAG = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20 } as const;
export const TCP_FLAGS_OFFSET = 13;

/** RFC 792 */
export const ICMP_TYPE = {
  'destination-unreachable': 3,
  'echo-request': 8,
  'time-exceeded': 11,
  'parameter-problem': 12,
} as const;

/** RFC 4443, 2710, 4861 and 3810 */
export const ICMPV6_TYPE = {
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'mld-listener-query': 130,
  'mld-listener-report': 131,
  'mld-listener-done': 132,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
  'mld2-listener-report': 143,
} as const;
