import { IPPROTO } from '../inet/protocol.ts';
import { host32 } from '../ruleset/match.ts';
import { type Bits, certain, guess, vague } from './bits.ts';
import type { Interface, Packet } from './packet.ts';
import type { Written } from './written.ts';

/** What the kernel loads into a register, by its own numbers; undefined if it ends the rule instead. */

const LONGEST = 16;

/** include/uapi/linux/netfilter.h */
const NFPROTO = { ipv4: 2, ipv6: 10 } as const;
/** include/uapi/linux/if_ether.h, in network order */
const ETH_P = { ipv4: [0x08, 0x00], ipv6: [0x86, 0xdd] } as const;
const ARPHRD_ETHER = 1;
const PACKET_HOST = 0;
/** enum nft_meta_keys */
const META = {
  LEN: 0,
  PROTOCOL: 1,
  PRIORITY: 2,
  MARK: 3,
  IIF: 4,
  OIF: 5,
  IIFNAME: 6,
  OIFNAME: 7,
  IIFTYPE: 8,
  SKUID: 10,
  SKGID: 11,
  NFTRACE: 12,
  NFPROTO: 15,
  L4PROTO: 16,
  PKTTYPE: 19,
  IIFGROUP: 21,
  SECPATH: 25,
} as const;

export function loadMeta(key: number, packet: Packet, written: Written): Bits | undefined {
  if (written.meta.has(key)) return vague(4);
  const { family, protocol, input, output } = packet;
  switch (key) {
    case META.PROTOCOL:
      return certain(Buffer.from(ETH_P[family]));
    case META.NFPROTO:
      return certain(Buffer.from([NFPROTO[family]]));
    case META.L4PROTO:
      return certain(Buffer.from([IPPROTO[protocol]]));
    case META.IIF:
      return interfaceIndex(input);
    case META.OIF:
      return interfaceIndex(output);
    case META.IIFNAME:
      return certain(interfaceName(input?.name ?? ''));
    case META.OIFNAME:
      return certain(interfaceName(output?.name ?? ''));
    case META.PKTTYPE:
      return certain(Buffer.from([PACKET_HOST]));
    case META.IIFTYPE:
      return guess(host32(ARPHRD_ETHER).subarray(0, 2));
    case META.LEN:
      return guess(host32(packet.network.likely.length + packet.transport.likely.length));
    case META.PRIORITY:
    case META.MARK:
    case META.IIFGROUP:
      return guess(host32(0));
    case META.SECPATH:
      return guess(Buffer.from([0]));
    case META.SKUID:
    case META.SKGID:
      return undefined; // it belongs to no socket yet
    default:
      return vague(LONGEST);
  }
}

/** The index; 0 if there is no interface. */
function interfaceIndex(it: Interface | undefined): Bits {
  if (it === undefined) return certain(host32(0));
  return it.index === undefined ? vague(4) : certain(host32(it.index));
}

function interfaceName(name: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}

/** enum nft_ct_keys */
const CT = {
  STATE: 0,
  DIRECTION: 1,
  STATUS: 2,
  MARK: 3,
  HELPER: 6,
  L3PROTOCOL: 7,
  PROTOCOL: 10,
  PROTO_SRC: 11,
  PROTO_DST: 12,
  ZONE: 17,
} as const;
/** Bits of NFT_CT_STATE: NF_CT_STATE_BIT(IP_CT_NEW) and so on, of NFT_CT_STATUS: enum ip_conntrack_status */
const STATE = { none: 1, new: 8, untracked: 64 } as const;
const IPS_DST_NAT = 0x20 | 0x100;

export function loadCt(
  key: number,
  { family, protocol, tracking, translated, transport }: Packet,
  written: Written,
): Bits | undefined {
  if (written.ct.has(key)) return vague(key === CT.MARK ? 4 : LONGEST);
  if (key === CT.STATE) return certain(host32(STATE[tracking]));
  if (tracking !== 'new') return undefined;
  switch (key) {
    case CT.DIRECTION:
      return certain(Buffer.from([0]));
    case CT.STATUS:
      return certain(host32(translated ? IPS_DST_NAT : 0));
    case CT.L3PROTOCOL:
      return certain(Buffer.from([NFPROTO[family]]));
    case CT.PROTOCOL:
      return certain(Buffer.from([IPPROTO[protocol]]));
    case CT.PROTO_SRC:
      return part(transport, 0, 2);
    case CT.PROTO_DST:
      return translated ? vague(2) : part(transport, 2, 2);
    case CT.MARK:
      return guess(host32(0));
    case CT.HELPER:
      return guess(Buffer.alloc(16));
    case CT.ZONE:
      return guess(Buffer.alloc(2));
    default:
      return vague(LONGEST);
  }
}

/** enum nft_fib_result and nft_fib_flags; RTN_* of include/uapi/linux/rtnetlink.h */
const FIB = { OIF: 1, OIFNAME: 2, ADDRTYPE: 3 } as const;
const FIB_FLAG = { DADDR: 2, PRESENT: 32 } as const;
const RTN = { UNICAST: 1, LOCAL: 2 } as const;

/** We take the way back to a stranger to be the one that the packet came by. */
export function loadFib(result: number, flags: number, { input, local }: Packet): Bits {
  const destination = (flags & FIB_FLAG.DADDR) !== 0;
  if (result === FIB.ADDRTYPE) {
    const ours = destination ? local : input === undefined;
    const type = host32(ours ? RTN.LOCAL : RTN.UNICAST);
    return destination && local && flags === FIB_FLAG.DADDR ? certain(type) : guess(type);
  }
  if (flags & FIB_FLAG.PRESENT) return guess(host32(1));
  const way = destination && local ? LOOPBACK : input;
  if (result === FIB.OIFNAME && way) return guess(interfaceName(way.name));
  return result === FIB.OIF && way?.index !== undefined ? guess(host32(way.index)) : vague(LONGEST);
}

const LOOPBACK = { name: 'lo', index: 1 } as const;

/** Bytes of a header. We cannot foretell what lies beyond it. */
export function part({ likely, sure, ...rest }: Bits, offset: number, length: number): Bits {
  if (offset + length > likely.length) return vague(length);
  return {
    ...rest,
    likely: likely.subarray(offset, offset + length),
    sure: sure.subarray(offset, offset + length),
  };
}

/** The kernel's numbers for the keys that known expressions carry by name. */
export const META_KEY = {
  mark: META.MARK,
  iif: META.IIF,
  iifname: META.IIFNAME,
  nftrace: META.NFTRACE,
  skuid: META.SKUID,
  nfproto: META.NFPROTO,
  l4proto: META.L4PROTO,
} as const;
export const CT_MARK = CT.MARK;
export const CT_KEY = { state: CT.STATE, direction: CT.DIRECTION, status: CT.STATUS } as const;
export const FIB_DADDR_TYPE = { result: FIB.ADDRTYPE, flags: FIB_FLAG.DADDR } as const;
