import { unmapped } from '../inet/address.ts';
import { ADDRESS_SIZE, AF } from '../inet/family.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { DecodeError } from './attributes.ts';
import type { Connection, Request } from './connection.ts';

/** A socket of this network namespace. Addresses of IPv4-mapped sockets are IPv4: 4 or 16 bytes. */
export interface InetSocket {
  readonly protocol: Protocol;
  /** One of {@link TCP_STATE}, or another of the kernel's. */
  readonly state: number;
  readonly address: Buffer;
  readonly port: number;
  /** The other end's address; zeros if there is none. */
  readonly peer: Buffer;
  readonly peerPort: number;
  /** The inode of the socket's file; 0 if it has none, like the kernel's own sockets. */
  readonly inode: number;
  /** The kernel's identifier of this socket: its own address family, and `struct inet_diag_sockid` with the cookie. */
  readonly handle: { readonly addressFamily: number; readonly id: Buffer };
}

// include/uapi/linux/sock_diag.h, inet_diag.h
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const INET_DIAG_REQ_V2 = 56;
const REQUEST_ID = 8;
const INET_DIAG_MSG = 72;
const MESSAGE_ID = 4;
const INET_DIAG_SOCKID = 48;

/** include/net/tcp_states.h. A UDP socket without a peer is CLOSE, one with a peer ESTABLISHED. */
export const TCP_STATE = { ESTABLISHED: 1, FIN_WAIT2: 5, TIME_WAIT: 6, CLOSE: 7, LISTEN: 10 } as const;

/** The sockets of both families that are in one of `states` (bits: 1 << state), from a socket of NETLINK_SOCK_DIAG. */
export async function readSockets(
  diagnostics: Connection,
  protocol: Protocol,
  states: number,
): Promise<InetSocket[]> {
  const sockets: InetSocket[] = [];
  for (const family of Object.values(AF))
    for (const { payload } of await diagnostics.dump(request(SOCK_DIAG_BY_FAMILY, family, protocol, states)))
      sockets.push(decodeSocket(protocol, payload));
  return sockets;
}

/** Ends a connection as its program could: TCP resets the other end. EOPNOTSUPP if the kernel cannot do that. */
export function destroySocket({ protocol, handle: { addressFamily, id } }: InetSocket): Request {
  return request(SOCK_DESTROY, addressFamily, protocol, 0, id);
}

/** `struct inet_diag_req_v2 {u8 family, protocol, ext, pad; u32 states; inet_diag_sockid id}` */
function request(type: number, family: number, protocol: Protocol, states: number, id?: Buffer): Request {
  const payload = Buffer.alloc(INET_DIAG_REQ_V2);
  payload.writeUInt8(family, 0);
  payload.writeUInt8(IPPROTO[protocol], 1);
  payload.writeUInt32LE(states, 4);
  id?.copy(payload, REQUEST_ID);
  return { type, flags: 0, subject: `${protocol.toUpperCase()} sockets`, payload };
}

/** `struct inet_diag_msg {u8 family, state, timer, retrans; inet_diag_sockid {be16 sport, dport; be32 src[4], dst[4]; …}, …, inode}` */
function decodeSocket(protocol: Protocol, payload: Buffer): InetSocket {
  if (payload.length < INET_DIAG_MSG) throw new DecodeError('a socket is cut short');
  const addressFamily = payload.readUInt8(0);
  const size = ADDRESS_SIZE[addressFamily === AF.ipv4 ? 'ipv4' : 'ipv6'];
  return {
    protocol,
    state: payload.readUInt8(1),
    address: unmapped(payload.subarray(8, 8 + size)),
    port: payload.readUInt16BE(4),
    peer: unmapped(payload.subarray(24, 24 + size)),
    peerPort: payload.readUInt16BE(6),
    inode: payload.readUInt32LE(68),
    handle: { addressFamily, id: payload.subarray(MESSAGE_ID, MESSAGE_ID + INET_DIAG_SOCKID) },
  };
}
