import { Buffer } from 'node:buffer';
import type { Family } from '../config/types.ts';
import { DecodeError } from '../netlink/attributes.ts';
import type { Connection } from '../netlink/connection.ts';

/** A TCP connection of this host, seen from here: `port` is ours. Addresses of IPv4-mapped sockets are IPv4. */
export interface Session {
  readonly family: Family;
  /** The other end's address, 4 or 16 bytes. */
  readonly peer: Buffer;
  readonly peerPort: number;
  readonly port: number;
}

// include/uapi/linux/sock_diag.h, inet_diag.h; include/net/tcp_states.h
const SOCK_DIAG_BY_FAMILY = 20;
const INET_DIAG_REQ_V2 = 56;
const INET_DIAG_MSG = 72;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;
const TCP_TIME_WAIT = 6;
const TCP_CLOSE = 7;
const TCP_LISTEN = 10;
/** All states in which there is a peer that may still send; the kernel counts half-open requests as SYN_RECV. */
const WITH_PEER = 0xfff & ~((1 << TCP_TIME_WAIT) | (1 << TCP_CLOSE) | (1 << TCP_LISTEN) | 1);

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/**
 * The TCP connections of this network namespace, from a socket of family NETLINK_SOCK_DIAG.
 *
 * For connections that connection tracking has not seen: it will take their next packet for a new one.
 */
export async function readSessions(diagnostics: Connection): Promise<Session[]> {
  const sessions: Session[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    const payload = Buffer.alloc(INET_DIAG_REQ_V2);
    payload.writeUInt8(family, 0);
    payload.writeUInt8(IPPROTO_TCP, 1);
    payload.writeUInt32LE(WITH_PEER, 4);
    const request = { type: SOCK_DIAG_BY_FAMILY, flags: 0, subject: 'TCP connections', payload };
    for (const reply of await diagnostics.dump(request)) sessions.push(decodeSession(reply.payload));
  }
  return sessions;
}

/** `struct inet_diag_msg {u8 family, state, timer, retrans; inet_diag_sockid {be16 sport, dport; be32 src[4], dst[4]; …}}` */
function decodeSession(payload: Buffer): Session {
  if (payload.length < INET_DIAG_MSG) throw new DecodeError('a TCP connection is cut short');
  const address = payload.subarray(24, payload.readUInt8(0) === AF_INET ? 28 : 40);
  const mapped = address.length === 16 && address.subarray(0, 12).equals(MAPPED);
  const peer = mapped ? address.subarray(12) : address;
  return {
    family: peer.length === 4 ? 'ipv4' : 'ipv6',
    peer,
    peerPort: payload.readUInt16BE(6),
    port: payload.readUInt16BE(4),
  };
}
