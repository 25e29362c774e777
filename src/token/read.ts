import { UDP_HEADER } from '../inet/header.ts';
import { IPPROTO } from '../inet/protocol.ts';
import { TOKEN_OFFSET } from './packet.ts';

/** Bytes of a token: hexadecimal digits, as ASCII. */
export const TOKEN_LENGTH = 32;

/** IANA's numbers of the headers that can stand between IPv6 and the transport. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;

/** The token in the beginning of a packet, from its IP header on; undefined if the packet is cut too short. */
export function tokenOfPacket(packet: Buffer): string | undefined {
  const start = dataOf(packet);
  if (start === undefined) return undefined;
  const token = packet.toString('latin1', start + TOKEN_OFFSET, start + TOKEN_OFFSET + TOKEN_LENGTH);
  return token.length === TOKEN_LENGTH ? token : undefined;
}

/** The offset at which the data of a datagram or segment begins; undefined for other protocols, or if it is cut too short. */
function dataOf(packet: Buffer): number | undefined {
  const transport = transportOf(packet);
  if (!transport) return undefined;
  const { protocol, at } = transport;
  if (protocol === IPPROTO.udp) return at + UDP_HEADER;
  if (protocol === IPPROTO.tcp && at + 12 < packet.length) return at + (packet.readUInt8(at + 12) >> 4) * 4;
  return undefined;
}

function transportOf(packet: Buffer): { readonly protocol: number; readonly at: number } | undefined {
  const first = packet[0];
  if (first === undefined) return undefined;
  if (first >> 4 === 4)
    return packet.length < 20 ? undefined : { protocol: packet.readUInt8(9), at: (first & 15) * 4 };
  if (packet.length < 40) return undefined;
  let protocol = packet.readUInt8(6);
  let at = 40;
  while ([HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION].includes(protocol)) {
    if (at + 2 > packet.length) return undefined;
    const length = packet.readUInt8(at + 1);
    const here = protocol;
    protocol = packet.readUInt8(at);
    at += here === FRAGMENT ? 8 : here === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
  }
  return { protocol, at };
}
