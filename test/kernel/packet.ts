/** Packets as values, to bytes and back: only the parts of IPv4, IPv6, TCP, UDP and ICMP that the tests need. */
import ipaddr from 'ipaddr.js';

const protocolNumbers = { icmp: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58 } as const; // <linux/in.h>, <linux/in6.h>
const flagBits = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

export type Protocol = 'tcp' | 'udp';
export type Flag = keyof typeof flagBits;

/** A control message to send. Any host may claim to be its sender. */
export interface ControlMessage {
  readonly protocol: 'icmp' | 'icmpv6' | 'igmp';
  readonly from: string;
  readonly to: string;
  readonly type: number;
  /** The second byte; 0 by default. */
  readonly code?: number;
  /** The bytes after the checksum, in hex. */
  readonly body: string;
  /** Also the hop limit. */
  readonly ttl: number;
}

/** One packet to send. The agent fills in `from` (the host's own address) and `sourcePort` (a fresh one). */
export interface Packet {
  readonly protocol: Protocol;
  readonly to: string;
  readonly port: number;
  /** Any address. It is written into the header, not bound. */
  readonly from?: string;
  readonly sourcePort?: number;
  /** TCP only; `['syn']` by default. */
  readonly flags?: readonly Flag[];
  /** TCP only. */
  readonly sequence?: number;
  readonly acknowledgment?: number;
  /** TCP only: its options in hex, whole words of 4 bytes. */
  readonly options?: string;
  readonly payload?: string;
  readonly badChecksum?: boolean;
  /** Also the hop limit; 64 by default. */
  readonly ttl?: number;
}

/** A packet with all addresses and ports. */
export type AddressedPacket = Packet & { readonly from: string; readonly sourcePort: number };

/** A packet seen on the wire. Ports are 0 if the protocol has none. */
export interface Seen {
  readonly from: string;
  readonly to: string;
  readonly protocol: keyof typeof protocolNumbers | 'other';
  readonly sourcePort: number;
  readonly port: number;
  readonly flags: readonly Flag[];
  /** TCP's; otherwise 0. */
  readonly sequence: number;
  readonly acknowledgment: number;
  /** ICMP's type and code; otherwise 0. */
  readonly type: number;
  readonly code: number;
  readonly ttl: number;
  /** TOS or traffic class. */
  readonly trafficClass: number;
  /** Bytes, with the IP header. */
  readonly size: number;
  /** The packet that an ICMP error is about. */
  readonly about?: Seen;
}

/** The same with all its bytes from the IP header on, in hex. */
export interface Captured extends Seen {
  readonly bytes: string;
}

/** The 4 or 16 bytes of an address. */
export function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(ipaddr.parse(address).toByteArray());
}

/** The address that many addresses later. */
export function addressAfter(first: string, distance: number): string {
  const bytes = ipaddr.parse(first).toByteArray();
  for (let at = bytes.length - 1, carry = distance; at >= 0 && carry > 0; at--) {
    const sum = (bytes[at] ?? 0) + (carry & 0xff);
    bytes[at] = sum & 0xff;
    carry = (carry >>> 8) + (sum >>> 8);
  }
  return ipaddr.fromByteArray(bytes).toString();
}

function sum16(bytes: Uint8Array, start: number): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  return sum;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/** The checksum of IP and its like over whole bytes, in which its own place is 0. */
export function checksum(bytes: Uint8Array, start = 0): number {
  return ~fold(sum16(bytes, start)) & 0xffff;
}

function transport(packet: AddressedPacket): Buffer {
  const payload = Buffer.from(packet.payload ?? '');
  const options = Buffer.from(packet.options ?? '', 'hex');
  const header = Buffer.alloc(packet.protocol === 'tcp' ? 20 : 8);
  header.writeUInt16BE(packet.sourcePort, 0);
  header.writeUInt16BE(packet.port, 2);
  if (packet.protocol === 'udp') {
    header.writeUInt16BE(8 + payload.length, 4);
    return Buffer.concat([header, payload]);
  }
  header.writeUInt32BE(packet.sequence ?? 0x1000_0000 + packet.sourcePort, 4);
  header.writeUInt32BE(packet.acknowledgment ?? 0, 8);
  header[12] = (5 + options.length / 4) << 4;
  header[13] = (packet.flags ?? ['syn']).reduce((bits, flag) => bits | flagBits[flag], 0);
  header.writeUInt16BE(64240, 14);
  return Buffer.concat([header, options, payload]);
}

/** The bytes from the IP header on, with right checksums unless `badChecksum` is set. */
export function encodePacket(packet: AddressedPacket): Buffer {
  const from = addressBytes(packet.from);
  const to = addressBytes(packet.to);
  if (from.length !== to.length) throw new Error(`${packet.from} and ${packet.to} are of two families`);
  const body = transport(packet);
  const protocol = protocolNumbers[packet.protocol];
  const pseudoHeader = sum16(to, sum16(from, protocol + body.length));
  const right = checksum(body, pseudoHeader);
  const checksumAt = packet.protocol === 'tcp' ? 16 : 6;
  body.writeUInt16BE(right ^ (packet.badChecksum ? 0x5555 : 0) || 0xffff, checksumAt);
  return Buffer.concat([
    from.length === 4
      ? ipv4Header(from, to, protocol, packet.ttl ?? 64, body.length)
      : ipv6Header(from, to, protocol, packet.ttl ?? 64, body.length),
    body,
  ]);
}

/** The bytes from the IP header on. */
export function encodeControlMessage(message: ControlMessage): Buffer {
  const from = addressBytes(message.from);
  const to = addressBytes(message.to);
  const body = Buffer.concat([
    Buffer.from([message.type, message.code ?? 0, 0, 0]),
    Buffer.from(message.body, 'hex'),
  ]);
  const protocol = protocolNumbers[message.protocol];
  const start = message.protocol === 'icmpv6' ? sum16(to, sum16(from, protocol + body.length)) : 0;
  body.writeUInt16BE(checksum(body, start), 2);
  const header = from.length === 4 ? ipv4Header : ipv6Header;
  return Buffer.concat([header(from, to, protocol, message.ttl, body.length), body]);
}

function ipv4Header(from: Uint8Array, to: Uint8Array, protocol: number, ttl: number, length: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(0x4000, 6); // don't fragment
  header[8] = ttl;
  header[9] = protocol;
  header.set(from, 12);
  header.set(to, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6Header(from: Uint8Array, to: Uint8Array, protocol: number, ttl: number, length: number): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header[6] = protocol;
  header[7] = ttl;
  header.set(from, 8);
  header.set(to, 24);
  return header;
}

/** A packet to send repeatedly with other ports. Everything but ports and checksum is encoded once. */
export interface Template {
  readonly to: string;
  readonly bytes: Uint8Array;
  /** Writes the packet into `target` at `offset`, with the right checksum. */
  readonly write: (target: Buffer, offset: number, sourcePort: number, port: number) => void;
}

/** Encodes everything but the ports. Those in `packet` do not matter. */
export function packetTemplate(packet: AddressedPacket): Template {
  const bytes = encodePacket({ sequence: 0x1000_0000, ...packet, sourcePort: 0, port: 0 });
  const portsAt = bytes.length - transport({ ...packet, sourcePort: 0, port: 0 }).length;
  const checksumAt = portsAt + (packet.protocol === 'tcp' ? 16 : 6);
  const without = ~bytes.readUInt16BE(checksumAt) & 0xffff;
  return {
    to: packet.to,
    bytes,
    write(target, offset, sourcePort, port) {
      target.set(bytes, offset);
      target.writeUInt16BE(sourcePort, offset + portsAt);
      target.writeUInt16BE(port, offset + portsAt + 2);
      target.writeUInt16BE(~fold(without + sourcePort + port) & 0xffff || 0xffff, offset + checksumAt);
    },
  };
}

function addressText(bytes: Uint8Array): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

/** Reads a packet from its IP header on; undefined if it is neither IPv4 nor IPv6, or cut off. */
export function decodePacket(bytes: Buffer): Seen | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4 && bytes.length >= 20) {
    const ip = {
      from: addressText(bytes.subarray(12, 16)),
      to: addressText(bytes.subarray(16, 20)),
      ttl: bytes[8] ?? 0,
      trafficClass: bytes[1] ?? 0,
      size: bytes.readUInt16BE(2),
    };
    return decodeTransport(ip, bytes[9] ?? 0, bytes.subarray(((bytes[0] ?? 0) & 15) * 4));
  }
  if (version === 6 && bytes.length >= 40) {
    const ip = {
      from: addressText(bytes.subarray(8, 24)),
      to: addressText(bytes.subarray(24, 40)),
      ttl: bytes[7] ?? 0,
      trafficClass: (bytes.readUInt16BE(0) >> 4) & 0xff,
      size: bytes.readUInt16BE(4) + 40,
    };
    return decodeTransport(ip, bytes[6] ?? 0, bytes.subarray(40));
  }
  return undefined;
}

type Ip = Pick<Seen, 'from' | 'to' | 'ttl' | 'trafficClass' | 'size'>;

function decodeTransport(ip: Ip, number: number, body: Buffer): Seen {
  const base = { ...ip, sourcePort: 0, port: 0, flags: [], sequence: 0, acknowledgment: 0, type: 0, code: 0 };
  switch (number) {
    case protocolNumbers.tcp:
    case protocolNumbers.udp: {
      if (body.length < 8) return { ...base, protocol: 'other' }; // an ICMP error quotes at least 8 bytes
      const ports = { sourcePort: body.readUInt16BE(0), port: body.readUInt16BE(2) };
      if (number === protocolNumbers.udp) return { ...base, ...ports, protocol: 'udp' };
      if (body.length < 20) return { ...base, ...ports, protocol: 'tcp' };
      return {
        ...base,
        ...ports,
        protocol: 'tcp',
        flags: flagNames(body[13] ?? 0),
        sequence: body.readUInt32BE(4),
        acknowledgment: body.readUInt32BE(8),
      };
    }
    case protocolNumbers.icmp:
    case protocolNumbers.icmpv6: {
      const type = body[0] ?? 0;
      const protocol = number === protocolNumbers.icmp ? 'icmp' : 'icmpv6';
      const error = protocol === 'icmp' ? [3, 4, 5, 11, 12].includes(type) : type < 128;
      const about = error ? decodePacket(body.subarray(8)) : undefined;
      return { ...base, protocol, type, code: body[1] ?? 0, ...(about && { about }) };
    }
    default:
      return { ...base, protocol: 'other' };
  }
}

function flagNames(bits: number): readonly Flag[] {
  return (Object.keys(flagBits) as Flag[]).filter(flag => bits & flagBits[flag]);
}

/** The answer to a packet, from the sender's point of view. */
export type Answer =
  | 'syn-ack'
  | 'rst'
  | 'tcp'
  | 'udp'
  | 'icmp-port-unreachable'
  | 'icmp-admin-prohibited'
  | 'icmp-unreachable'
  | 'none';

/** The meaning of `seen` as an answer to `sent`; undefined if it is none. */
export function answerTo(sent: AddressedPacket, seen: Seen): Answer | undefined {
  const { about } = seen;
  if (about) {
    if (about.protocol !== sent.protocol || about.port !== sent.port || about.sourcePort !== sent.sourcePort)
      return undefined;
    if (seen.protocol === 'icmp') {
      if (seen.type !== 3) return undefined;
      if (seen.code === 3) return 'icmp-port-unreachable';
      return [9, 10, 13].includes(seen.code) ? 'icmp-admin-prohibited' : 'icmp-unreachable';
    }
    if (seen.type !== 1) return undefined;
    if (seen.code === 4) return 'icmp-port-unreachable';
    return seen.code === 1 ? 'icmp-admin-prohibited' : 'icmp-unreachable';
  }
  if (seen.protocol !== sent.protocol || seen.port !== sent.sourcePort || seen.sourcePort !== sent.port)
    return undefined;
  if (seen.to.includes(':') !== sent.to.includes(':')) return undefined;
  if (seen.protocol === 'udp') return 'udp';
  if (seen.flags.includes('rst')) return 'rst';
  return seen.flags.includes('syn') && seen.flags.includes('ack') ? 'syn-ack' : 'tcp';
}
