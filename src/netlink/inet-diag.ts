import { DecodeError } from './attributes.ts';
import type { Connection, Request } from './connection.ts';

/** A socket of this network namespace. Addresses of IPv4-mapped sockets are IPv4: 4 or 16 bytes. */
export interface InetSocket {
  readonly address: Buffer;
  readonly port: number;
  /** The other end's; zeros where there is none. */
  readonly peer: Buffer;
  readonly peerPort: number;
  /** Of the socket's file; 0 where it has none, as those of the kernel itself. */
  readonly inode: number;
}

// include/uapi/linux/sock_diag.h, inet_diag.h
const SOCK_DIAG_BY_FAMILY = 20;
const INET_DIAG_REQ_V2 = 56;
const INET_DIAG_MSG = 72;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO = { tcp: 6, udp: 17 } as const;

/** include/net/tcp_states.h; a UDP socket without a peer is closed, one with a peer established */
export const TCP_STATE = { ESTABLISHED: 1, TIME_WAIT: 6, CLOSE: 7, LISTEN: 10 } as const;

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** The sockets of both families that are in one of `states` (bits: 1 << state), from a socket of NETLINK_SOCK_DIAG. */
export async function readSockets(
  diagnostics: Connection,
  protocol: keyof typeof IPPROTO,
  states: number,
): Promise<InetSocket[]> {
  const sockets: InetSocket[] = [];
  for (const family of [AF_INET, AF_INET6])
    for (const { payload } of await diagnostics.dump(dumpRequest(family, protocol, states)))
      sockets.push(decodeSocket(payload));
  return sockets;
}

/** `struct inet_diag_req_v2 {u8 family, protocol, ext, pad; u32 states; inet_diag_sockid}` */
function dumpRequest(family: number, protocol: keyof typeof IPPROTO, states: number): Request {
  const payload = Buffer.alloc(INET_DIAG_REQ_V2);
  payload.writeUInt8(family, 0);
  payload.writeUInt8(IPPROTO[protocol], 1);
  payload.writeUInt32LE(states, 4);
  return { type: SOCK_DIAG_BY_FAMILY, flags: 0, subject: `${protocol.toUpperCase()} sockets`, payload };
}

/** `struct inet_diag_msg {u8 family, state, timer, retrans; inet_diag_sockid {be16 sport, dport; be32 src[4], dst[4]; …}, …, inode}` */
function decodeSocket(payload: Buffer): InetSocket {
  if (payload.length < INET_DIAG_MSG) throw new DecodeError('a socket is cut short');
  const size = payload.readUInt8(0) === AF_INET ? 4 : 16;
  return {
    address: unmapped(payload.subarray(8, 8 + size)),
    port: payload.readUInt16BE(4),
    peer: unmapped(payload.subarray(24, 24 + size)),
    peerPort: payload.readUInt16BE(6),
    inode: payload.readUInt32LE(68),
  };
}

function unmapped(address: Buffer): Buffer {
  return address.length === 16 && address.subarray(0, 12).equals(MAPPED) ? address.subarray(12) : address;
}
