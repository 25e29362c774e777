/** Packets as no honest host sends them, as bytes: made of whole packets by rewriting their headers. */
import { type AddressedPacket, addressBytes, checksum, encodePacket } from '../kernel/packet.ts';

/** IP packets that arrive one after the other. */
export type Packets = readonly Buffer[];

const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100 } as const; // <linux/if_ether.h>
/** Numbers of protocols and of extension headers of IPv6. */
export const NUMBER = {
  hopByHop: 0,
  icmp: 1,
  ipv4: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  ipv6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  authentication: 51,
  destination: 60,
  sctp: 132,
  udpLite: 136,
} as const;

const MORE_FRAGMENTS = 0x2000;
let lastIdentification = 1;

export function isIpv6(packet: Buffer): boolean {
  return (packet[0] ?? 0) >> 4 === 6;
}

/** The bytes after the IP header without options. */
export function bodyOf(packet: Buffer): Buffer {
  return packet.subarray(isIpv6(packet) ? 40 : 20);
}

/** The same IPv4 header with other options, lengths and fragment; the checksum is right. */
function ipv4(
  packet: Buffer,
  body: Buffer,
  { options = Buffer.alloc(0), fragment = 0, identification = 0, protocol = packet[9] ?? 0 } = {},
): Buffer {
  const header = Buffer.concat([packet.subarray(0, 20), options]);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + body.length, 2);
  header.writeUInt16BE(identification, 4);
  header.writeUInt16BE(fragment, 6);
  header[9] = protocol;
  header.writeUInt16BE(0, 10);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, body]);
}

/** The same IPv6 header with other contents. */
function ipv6(packet: Buffer, next: number, body: Buffer): Buffer {
  const header = Buffer.from(packet.subarray(0, 40));
  header.writeUInt16BE(body.length, 4);
  header[6] = next;
  return Buffer.concat([header, body]);
}

/** The same with another TOS or traffic class; over IPv6 with another flow label, too. */
export function withClass(packet: Buffer, trafficClass: number, flowLabel = 0): Buffer {
  const changed = Buffer.from(packet);
  if (isIpv6(packet)) {
    changed.writeUInt32BE(((6 << 28) | (trafficClass << 20) | flowLabel) >>> 0, 0);
    return changed;
  }
  changed[1] = trafficClass;
  return ipv4(changed, bodyOf(changed), { fragment: packet.readUInt16BE(6) });
}

/** With IPv4 options, which are filled up to words of 4 bytes. */
export function withOptions(packet: Buffer, options: readonly number[]): Buffer {
  const padded = Buffer.alloc(Math.ceil(options.length / 4) * 4);
  padded.set(options);
  return ipv4(packet, bodyOf(packet), { options: padded });
}

/** An extension header without its first byte, which names the header that follows. */
export interface Extension {
  readonly number: number;
  readonly rest: readonly number[];
}

const padding = [0, 1, 4, 0, 0, 0, 0]; // a length of one word of 8 bytes, and PadN
export const extension = {
  hopByHop: { number: NUMBER.hopByHop, rest: padding },
  destination: { number: NUMBER.destination, rest: padding },
  unknownOption: { number: NUMBER.destination, rest: [0, 0xbe, 4, 0, 0, 0, 0] }, // an answer is wanted
  routing: (type: number, left: number) => ({
    number: NUMBER.routing,
    rest: [2, type, left, 0, 0, 0, 0, ...addressBytes('fd77::2')],
  }),
  atomicFragment: { number: NUMBER.fragment, rest: [0, 0, 0, 0, 0, 0, 7] },
  authentication: { number: NUMBER.authentication, rest: [2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0] },
} as const;

/** With extension headers before the transport header. */
export function withExtensions(packet: Buffer, extensions: readonly Extension[]): Buffer {
  const { next, body } = extensions.reduceRight(
    ({ next, body }, { number, rest }) => ({
      next: number,
      body: Buffer.concat([Buffer.from([next, ...rest]), body]),
    }),
    { next: packet[6] ?? 0, body: bodyOf(packet) },
  );
  return ipv6(packet, next, body);
}

/** A part of a packet's body, from byte `from` on, a multiple of 8. */
export interface Part {
  readonly from: number;
  readonly to?: number;
  /** The bytes that stand there instead. */
  readonly bytes?: Buffer;
}

/** The packet in fragments, in that order. They say that they are whole if one reaches the end. */
export function fragments(packet: Buffer, parts: readonly Part[]): Packets {
  const body = bodyOf(packet);
  const identification = ++lastIdentification;
  return parts.map(({ from, to = body.length, bytes = body.subarray(from, to) }) => {
    const more = to < body.length;
    if (!isIpv6(packet))
      return ipv4(packet, bytes, { identification, fragment: (more ? MORE_FRAGMENTS : 0) | (from / 8) });
    const header = Buffer.alloc(8);
    header[0] = packet[6] ?? 0;
    header.writeUInt16BE(from | (more ? 1 : 0), 2);
    header.writeUInt32BE(identification, 4);
    return ipv6(packet, NUMBER.fragment, Buffer.concat([header, bytes]));
  });
}

/** The same ports and addresses, and another protocol. */
export function asProtocol(packet: Buffer, protocol: number, body = bodyOf(packet)): Buffer {
  return isIpv6(packet) ? ipv6(packet, protocol, body) : ipv4(packet, body, { protocol });
}

/** The packet within another one of the same addresses. */
export function encapsulated(packet: Buffer, protocol: number, header = Buffer.alloc(0)): Buffer {
  return asProtocol(packet, protocol, Buffer.concat([header, packet]));
}

/** A datagram with any bytes, without a checksum, which IPv4 permits. */
export function datagram(packet: AddressedPacket, data: Buffer): Buffer {
  const bytes = encodePacket(packet);
  const header = Buffer.from(bodyOf(bytes).subarray(0, 8));
  header.writeUInt16BE(8 + data.length, 4);
  header.writeUInt16BE(0, 6);
  return asProtocol(bytes, NUMBER.udp, Buffer.concat([header, data]));
}

/** 6 bytes. */
export type Mac = Uint8Array;

export function macOf(text: string): Mac {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

/** An Ethernet frame with an IP packet; `vlan` is the tag. */
export function frame(packet: Buffer, { to, from, vlan }: { to: Mac; from: Mac; vlan?: number }): Buffer {
  const tag = vlan === undefined ? [] : [ETHERTYPE.vlan >> 8, ETHERTYPE.vlan & 0xff, vlan >> 8, vlan & 0xff];
  const type = isIpv6(packet) ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4;
  return Buffer.concat([to, from, Buffer.from([...tag, type >> 8, type & 0xff]), packet]);
}

/** A packet by itself. */
export function plain(packet: AddressedPacket): Buffer {
  return encodePacket(packet);
}
