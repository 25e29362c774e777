import { type Family, familyOf } from '../inet/family.ts';
import type { Connection } from '../netlink/connection.ts';
import { TCP_STATE } from '../netlink/inet-diag.ts';
import { listSockets } from './sockets.ts';

/** A TCP connection of this host, seen from here: `port` is ours. Addresses of IPv4-mapped sockets are IPv4. */
export interface Session {
  readonly family: Family;
  /** The peer's address, 4 or 16 bytes. */
  readonly peer: Buffer;
  readonly peerPort: number;
  readonly port: number;
}

/** All states with a peer that may still send. The kernel counts half-open requests as SYN_RECV. */
export const WITH_PEER =
  0xfff & ~((1 << TCP_STATE.TIME_WAIT) | (1 << TCP_STATE.CLOSE) | (1 << TCP_STATE.LISTEN) | 1);

/**
 * The TCP connections of this network namespace, from a socket of family NETLINK_SOCK_DIAG.
 *
 * Connection tracking may not have seen them, and then takes their next packet for a new one.
 */
export async function readSessions(diagnostics: Connection): Promise<Session[]> {
  return (await listSockets(diagnostics, 'tcp', WITH_PEER)).map(({ peer, peerPort, port }) => ({
    family: familyOf(peer),
    peer,
    peerPort,
    port,
  }));
}
