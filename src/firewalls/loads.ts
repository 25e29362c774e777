import { ADDRESS_TYPE } from '../inet/address.ts';
import { AF } from '../inet/family.ts';
import { CT_DIRECTION, CT_STATE, IPS_DST_NAT } from '../inet/netfilter.ts';
import { IPPROTO } from '../inet/protocol.ts';
import { NFT_CT } from '../nftables/expressions/ct.ts';
import { NFT_FIB_RESULT, NFTA_FIB_F } from '../nftables/expressions/fib.ts';
import { NFT_META } from '../nftables/expressions/meta.ts';
import type { Payload } from '../nftables/expressions/payload.ts';
import { host32 } from '../ruleset/match.ts';
import { type Bits, certain, guess, vague } from './bits.ts';
import type { Interface, Packet } from './packet.ts';
import type { Written } from './written.ts';

/** The value that the kernel loads into a register, by its own numbers; undefined if it ends the rule instead. */

/** Bytes of the largest value in a register. */
export const LONGEST = 16;

/** include/uapi/linux/if_ether.h, in network order */
const ETH_P = { ipv4: [0x08, 0x00], ipv6: [0x86, 0xdd] } as const;
const ARPHRD_ETHER = 1;
/** include/uapi/linux/if_packet.h */
const PACKET = { HOST: 0, BROADCAST: 1 } as const;

export function loadMeta(key: number, packet: Packet, written: Written): Bits | undefined {
  if (written.meta.has(key)) return vague(4);
  const { family, protocol, input, output } = packet;
  switch (key) {
    case NFT_META.PROTOCOL:
      return certain(Buffer.from(ETH_P[family]));
    case NFT_META.NFPROTO:
      return certain(Buffer.from([AF[family]]));
    case NFT_META.L4PROTO:
      return certain(Buffer.from([IPPROTO[protocol]]));
    case NFT_META.IIF:
      return interfaceIndex(input);
    case NFT_META.OIF:
      return interfaceIndex(output);
    case NFT_META.IIFNAME:
      return certain(interfaceName(input?.name ?? ''));
    case NFT_META.OIFNAME:
      return certain(interfaceName(output?.name ?? ''));
    case NFT_META.PKTTYPE:
      return certain(Buffer.from([packet.toEveryone ? PACKET.BROADCAST : PACKET.HOST]));
    case NFT_META.IIFTYPE:
      return guess(host32(ARPHRD_ETHER).subarray(0, 2));
    case NFT_META.LEN:
      return guess(host32(packet.network.likely.length + packet.transport.likely.length));
    case NFT_META.PRIORITY:
    case NFT_META.MARK:
    case NFT_META.IIFGROUP:
      return guess(host32(0));
    case NFT_META.SECPATH:
      return guess(Buffer.from([0]));
    case NFT_META.SKUID:
    case NFT_META.SKGID:
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

export function loadCt(
  key: number,
  { family, protocol, tracking, translated, transport }: Packet,
  written: Written,
): Bits | undefined {
  if (written.ct.has(key)) return vague(key === NFT_CT.MARK ? 4 : LONGEST);
  if (key === NFT_CT.STATE) return certain(host32(CT_STATE[tracking === 'none' ? 'invalid' : tracking]));
  if (tracking !== 'new') return undefined;
  switch (key) {
    case NFT_CT.DIRECTION:
      return certain(Buffer.from([CT_DIRECTION.original]));
    case NFT_CT.STATUS:
      return certain(host32(translated ? IPS_DST_NAT : 0));
    case NFT_CT.L3PROTOCOL:
      return certain(Buffer.from([AF[family]]));
    case NFT_CT.PROTOCOL:
      return certain(Buffer.from([IPPROTO[protocol]]));
    case NFT_CT.PROTO_SRC:
      return part(transport, 0, 2);
    case NFT_CT.PROTO_DST:
      return translated ? vague(2) : part(transport, 2, 2);
    case NFT_CT.MARK:
      return guess(host32(0));
    case NFT_CT.HELPER:
      return guess(Buffer.alloc(16));
    case NFT_CT.ZONE:
      return guess(Buffer.alloc(2));
    default:
      return vague(LONGEST);
  }
}

/** We take the way back to a stranger to be the one that the packet came by. */
export function loadFib(result: number, flags: number, { input, local, own }: Packet): Bits {
  const destination = (flags & NFTA_FIB_F.DADDR) !== 0;
  if (result === NFT_FIB_RESULT.ADDRTYPE) {
    const ours = destination ? local : own;
    const type = host32(ours ? ADDRESS_TYPE.local : ADDRESS_TYPE.unicast);
    const plain = flags === NFTA_FIB_F.DADDR || flags === NFTA_FIB_F.SADDR;
    return ours && plain ? certain(type) : guess(type);
  }
  if (flags & NFTA_FIB_F.PRESENT) return guess(host32(1));
  const way = destination && local ? LOOPBACK : input;
  if (result === NFT_FIB_RESULT.OIFNAME && way) return guess(interfaceName(way.name));
  return result === NFT_FIB_RESULT.OIF && way?.index !== undefined
    ? guess(host32(way.index))
    : vague(LONGEST);
}

const LOOPBACK = { name: 'lo', index: 1 } as const;

/** Bytes of the packet from one of its headers on. Behind the IP header the transport header follows, unless there are options. */
export function loadPayload(
  { base, offset, length }: Pick<Payload, 'base' | 'offset' | 'length'>,
  { network, transport }: Packet,
): Bits {
  if (base === 'transport') return part(transport, offset, length);
  if (base !== 'network') return vague(length);
  const behind = offset - network.likely.length;
  if (behind < 0) return part(network, offset, length);
  const bits = part(transport, behind, length);
  return bits.vague ? bits : guess(bits.likely);
}

/** Bytes of a header. We cannot foretell what lies beyond it. */
export function part({ likely, sure, ...rest }: Bits, offset: number, length: number): Bits {
  if (offset + length > likely.length) return vague(length);
  return {
    ...rest,
    likely: likely.subarray(offset, offset + length),
    sure: sure.subarray(offset, offset + length),
  };
}
