import { isLoopback } from '../inet/address.ts';
import type { Port } from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import type { Connection } from '../netlink/connection.ts';
import { type InetSocket, TCP_STATE } from '../netlink/inet-diag.ts';
import { listSockets, type SeenSocket } from './sockets.ts';

/** A socket that waits for clients: a TCP listener, or a UDP socket without a peer. */
export interface Listener extends Port {
  /** 4 or 16 bytes; zeros for all addresses. */
  readonly address: Buffer;
  /** Whether only this host can reach it. */
  readonly loopback: boolean;
  /** The inode, as in {@link InetSocket}. */
  readonly inode: number;
}

/** The listeners in this network namespace, from a socket of family NETLINK_SOCK_DIAG. Needs no privileges. */
export async function readListeners(diagnostics: Connection): Promise<Listener[]> {
  const tcp = await listSockets(diagnostics, 'tcp', 1 << TCP_STATE.LISTEN);
  const udp = await listSockets(diagnostics, 'udp', 1 << TCP_STATE.CLOSE);
  return [...tcp.map(socket => listener('tcp', socket)), ...udp.map(socket => listener('udp', socket))];
}

function listener(protocol: Protocol, { address, port, inode }: SeenSocket): Listener {
  return { protocol, port, address, loopback: isLoopback(address), inode };
}
