import { ADDRESS_TYPE } from '../inet/address.ts';
import { ADDRESS_SIZE } from '../inet/family.ts';
import { TCP_FLAGS_OFFSET } from '../inet/header.ts';
import { portBytes } from '../inet/port.ts';
import { NFT_CT } from '../nftables/expressions/ct.ts';
import { NFT_META } from '../nftables/expressions/meta.ts';
import {
  type Bits,
  both,
  certain,
  compares,
  guess,
  LIKELY,
  type Match,
  NO,
  not,
  UNKNOWN,
  UNLIKELY,
  YES,
} from './bits.ts';
import type { Step } from './decision.ts';
import { decides, GOES_ON } from './decision.ts';
import { part } from './loads.ts';
import type { Packet } from './packet.ts';
import type { Written } from './written.ts';

/**
 * Matches and targets of iptables. iptables-nft puts them into rules if nf_tables has no expression of its own.
 * `info` is the structure of include/uapi/linux/netfilter/xt_NAME.h, in host order.
 */

type Decide = (info: Buffer, packet: Packet, written: Written) => Match;

const turned = (match: Match, invert: boolean | number) => (invert ? not(match) : match);

/** Whether a port lies in one of the ranges, both ends included. */
function inRanges(port: Bits, ranges: readonly (readonly [number, number])[]): Match {
  return any(
    ranges.map(([low, high]) =>
      both(
        compares(port, portBytes(low), sign => sign >= 0),
        compares(port, portBytes(high), sign => sign <= 0),
      ),
    ),
  );
}

const any = (matches: readonly Match[]) => not(matches.map(not).reduce(both, YES));

const source = ({ transport }: Packet) => part(transport, 0, 2);
const destination = ({ transport }: Packet) => part(transport, 2, 2);

/** struct xt_tcp and xt_udp {u16 spts[2], dpts[2]; …} */
function ports(info: Buffer, packet: Packet, invert: number): Match {
  const range = (at: number) => [[info.readUInt16LE(at), info.readUInt16LE(at + 2)]] as const;
  return both(
    turned(inRanges(source(packet), range(0)), invert & 1),
    turned(inRanges(destination(packet), range(4)), invert & 2),
  );
}

/** XT_CONNTRACK_STATE_*: bits of xt_conntrack_mtinfo's state_mask */
const XT_STATE = { none: 1, new: 8, untracked: 1 << 8 } as const;
/** match_flags: XT_CONNTRACK_STATE and XT_CONNTRACK_STATE_ALIAS */
const XT_CONNTRACK_STATE = 1;
const XT_CONNTRACK_STATE_ALIAS = 1 << 13;

/** bits of xt_recent_mtinfo's check_set */
const XT_RECENT_SET = 2;

const unlikely = (...names: readonly string[]) =>
  Object.fromEntries(names.map((name): [string, Decide] => [`${name} 0`, () => UNLIKELY]));

/** By name and revision. iptables-nft takes the highest revision that the kernel has, so it never writes older ones. */
const MATCHES: Readonly<Record<string, Decide>> = {
  'comment 0': () => YES,
  'tcp 0'(info, packet) {
    if (packet.protocol !== 'tcp') return NO;
    const invert = info.readUInt8(11);
    const [mask, wanted] = [info.readUInt8(9), info.readUInt8(10)];
    const { likely, sure } = part(packet.transport, TCP_FLAGS_OFFSET, 1);
    const equal = ((likely.readUInt8(0) ^ wanted) & mask) === 0;
    const flags = { likely: equal, sure: (mask & ~sure.readUInt8(0)) === 0 };
    const option = info.readUInt8(8) === 0 ? YES : UNKNOWN;
    return [ports(info, packet, invert), turned(flags, invert & 4), turned(option, invert & 8)].reduce(both);
  },
  'udp 0': (info, packet) => (packet.protocol === 'udp' ? ports(info, packet, info.readUInt8(8)) : NO),
  /** struct xt_multiport_v1 {u8 flags, count; u16 ports[15]; u8 pflags[15], invert}. A port with a flag begins a range. */
  'multiport 1'(info, packet) {
    const [flags, count] = [info.readUInt8(0), info.readUInt8(1)];
    const ranges: [number, number][] = [];
    for (let index = 0; index < count; index++) {
      const port = info.readUInt16LE(2 + index * 2);
      const begins = info.readUInt8(32 + index) !== 0;
      ranges.push([port, begins ? info.readUInt16LE(2 + ++index * 2) : port]);
    }
    const sides = [
      ...(flags !== 1 ? [inRanges(source(packet), ranges)] : []),
      ...(flags !== 0 ? [inRanges(destination(packet), ranges)] : []),
    ];
    return turned(any(sides), info.readUInt8(47));
  },
  /** struct xt_conntrack_mtinfo3: addresses, 128 bytes; at 146 match_flags, invert_flags, state_mask */
  'conntrack 3'(info, { tracking }) {
    const [flags, invert] = [info.readUInt16LE(146), info.readUInt16LE(148)];
    if ((flags & ~XT_CONNTRACK_STATE_ALIAS) !== XT_CONNTRACK_STATE) return UNKNOWN;
    return turned(info.readUInt16LE(150) & XT_STATE[tracking] ? YES : NO, invert & XT_CONNTRACK_STATE);
  },
  /** struct xt_addrtype_info_v1 {u16 source, dest; u32 flags}: masks of 1 << RTN_*. Bits 0 and 1 invert them. */
  'addrtype 1'(info, { local }) {
    const [from, to, flags] = [info.readUInt16LE(0), info.readUInt16LE(2), info.readUInt32LE(4)];
    const is = (mask: number, type: number, surely: boolean) =>
      mask === 0 ? YES : { likely: (mask & (1 << type)) !== 0, sure: surely };
    return both(
      turned(is(from, ADDRESS_TYPE.unicast, false), from && flags & 1),
      turned(is(to, ADDRESS_TYPE[local ? 'local' : 'unicast'], local), to && flags & 2),
    );
  },
  'limit 0': () => LIKELY,
  /** struct xt_hashlimit_mtinfo3: a name of 255 bytes. `mode` has XT_HASHLIMIT_INVERT for --hashlimit-above. */
  'hashlimit 3': info => turned(LIKELY, info.readUInt32LE(272) & (1 << 4)),
  /** struct xt_connlimit_info {mask[16]; u32 limit, flags}: more connections than the limit, unless inverted */
  'connlimit 1': info => turned(UNLIKELY, info.readUInt32LE(20) & 1),
  /** struct xt_recent_mtinfo {u32 seconds, hit_count; u8 check_set, invert; char name[200]}. Packets write the lists, so nobody can foretell them. */
  'recent 1': info => (info.readUInt8(8) & XT_RECENT_SET ? turned(YES, info.readUInt8(9)) : UNKNOWN),
  /** struct xt_set_info {u16 index; u8 dim, flags}: IPSET_INV_MATCH */
  'set 4': (info, _, { ipset }) => (ipset ? UNKNOWN : turned(UNLIKELY, info.readUInt8(3) & 1)),
  /** struct xt_mark_mtinfo1 {u32 mark, mask; u8 invert} */
  'mark 1': (info, _, { meta }) => (meta.has(NFT_META.MARK) ? UNKNOWN : isZero(info)),
  'connmark 1': (info, _, { ct }) => (ct.has(NFT_CT.MARK) ? UNKNOWN : isZero(info)),
  /** struct xt_pkttype_info {int pkttype, invert}: PACKET_HOST is 0 */
  'pkttype 0': info => turned(info.readInt32LE(0) === 0 ? YES : NO, info.readInt32LE(4)),
  /** struct xt_rpfilter_info {u8 flags}: XT_RPFILTER_INVERT */
  'rpfilter 0': info => turned(LIKELY, info.readUInt8(0) & 8),
  /** struct xt_mac_info {u8 srcaddr[6]; int invert} */
  'mac 0': info => turned(UNLIKELY, info.readInt32LE(8)),
  'icmp 0': () => NO,
  'icmp6 0': () => NO,
  // ports of bridges, and headers between IPv6 and TCP or UDP
  ...unlikely('physdev', 'ah', 'dst', 'esp', 'frag', 'hbh', 'mh', 'rt'),
};

/** Whether the initial mark of packets is the one that the rule asks for. */
function isZero(info: Buffer): Match {
  const likely = (info.readUInt32LE(0) & info.readUInt32LE(4)) === 0;
  return turned({ likely, sure: false }, info.readUInt8(8));
}

export function followMatch(
  name: string,
  revision: number,
  info: Buffer,
  packet: Packet,
  written: Written,
): Match {
  const known = `${name} ${revision}`;
  const decide = Object.hasOwn(MATCHES, known) ? MATCHES[known] : undefined;
  return decide ? decide(info, packet, written) : UNKNOWN;
}

/** Targets after which a packet goes on through the chain. */
const HARMLESS = new Set(
  'AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK DSCP HL LED LOG MARK NFLOG RATEEST SECMARK SET TCPMSS TCPOPTSTRIP TEE TOS TRACE TTL'.split(
    ' ',
  ),
);
/** struct xt_ct_target_info {u16 flags; …} */
const XT_CT_NOTRACK = 1;
/** enum of include/uapi/linux/netfilter/nf_nat.h */
const NF_NAT_RANGE_MAP_IPS = 1;
const NF_NAT_RANGE_PROTO_SPECIFIED = 2;

export function followTarget(name: string, revision: number, info: Buffer, packet: Packet): Step {
  if (HARMLESS.has(name)) return GOES_ON;
  switch (name) {
    case 'REJECT':
      return decides({ does: 'reject' });
    case 'CT':
      return info.readUInt16LE(0) & XT_CT_NOTRACK ? { ...GOES_ON, untracked: true } : GOES_ON;
    case 'DNAT':
    case 'REDIRECT':
      return decides({ does: 'translate', to: natRange(name, revision, info, packet) });
    case 'SYNPROXY':
      return decides({ does: 'proxy' });
    case 'TPROXY':
      return tproxy(revision, info, packet);
    default:
      return decides({ does: 'unknown' });
  }
}

/** struct xt_tproxy_target_info {u32 mark_mask, mark_value; be32 laddr; be16 lport}; in revision 1 laddr has 16 bytes. */
function tproxy(revision: number, info: Buffer, { transport }: Packet): Step {
  const port = info.subarray(...(revision === 0 ? [12, 14] : [24, 26]));
  return {
    match: YES,
    leads: [port.readUInt16BE(0) === 0 ? part(transport, 2, 2) : certain(port)],
    decisions: [
      { decision: { does: 'accept' }, likely: true },
      { decision: { does: 'drop' }, likely: false }, // no such socket
    ],
  };
}

/**
 * Revision 0: struct nf_nat_ipv4_multi_range_compat {u32 size; {u32 flags; be32 min_ip, max_ip; be16 min, max} range[1]},
 * later ones: struct nf_nat_range* {u32 flags; min_addr[16], max_addr[16]; be16 min, max; …}.
 */
function natRange(name: string, revision: number, info: Buffer, { family, local }: Packet) {
  const compat = revision === 0 && family === 'ipv4';
  const flags = info.readUInt32LE(compat ? 4 : 0);
  const [addresses, ports] = compat ? [8, 16] : [4, 36];
  const size = ADDRESS_SIZE[family];
  const spread = (at: number, length: number, next: number): Bits => {
    const first = info.subarray(at, at + length);
    return first.equals(info.subarray(next, next + length)) ? certain(first) : guess(first);
  };
  const address =
    name === 'DNAT' && flags & NF_NAT_RANGE_MAP_IPS
      ? spread(addresses, size, addresses + (compat ? 4 : 16))
      : undefined;
  const port = flags & NF_NAT_RANGE_PROTO_SPECIFIED ? spread(ports, 2, ports + 2) : undefined;
  return { address, port, local: name === 'REDIRECT' || (address === undefined && local) };
}
