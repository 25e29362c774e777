/** Netfilter's numbers that more than one room needs, under nft's names. */

/** enum nf_ip_hook_priorities of include/uapi/linux/netfilter_ipv4.h */
export const NF_IP_PRI = { conntrack: -200, mangle: -150, filter: 0 } as const;

/** Bits of `ct state`: NF_CT_STATE_BIT and NF_CT_STATE_UNTRACKED_BIT of include/uapi/linux/netfilter/nf_conntrack_common.h. */
export const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;

/** Bits of `ct status`: enum ip_conntrack_status of the same file. */
export const IPS = { expected: 1, 'seen-reply': 2, assured: 4, confirmed: 8, dnat: 32 } as const;
/** IPS_DST_NAT and IPS_DST_NAT_DONE together, for which nft has no word. */
export const IPS_DST_NAT = 0x20 | 0x100;

/** IP_CT_DIR_* of include/uapi/linux/netfilter/nf_conntrack_tuple_common.h */
export const CT_DIRECTION = { original: 0, reply: 1 } as const;
