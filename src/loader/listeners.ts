import type { Port } from '../config/types.ts';
import type { Connection } from '../netlink/connection.ts';
import { readSockets, TCP_STATE } from '../netlink/inet-diag.ts';

/** A program of this host waits for whoever comes: a TCP listener, or a UDP socket without a peer. */
export interface Listener extends Port {
  /** Nobody from outside can reach it. */
  readonly loopback: boolean;
}

/** What listens in this network namespace, from a socket of family NETLINK_SOCK_DIAG; needs no privileges. */
export async function readListeners(diagnostics: Connection): Promise<Listener[]> {
  const tcp = await readSockets(diagnostics, 'tcp', 1 << TCP_STATE.LISTEN);
  const udp = await readSockets(diagnostics, 'udp', 1 << TCP_STATE.CLOSE);
  return [
    ...tcp.map(({ port, address }) => ({ protocol: 'tcp' as const, port, loopback: isLoopback(address) })),
    ...udp.map(({ port, address }) => ({ protocol: 'udp' as const, port, loopback: isLoopback(address) })),
  ];
}

/** 127.0.0.0/8 and ::1 */
function isLoopback(address: Buffer): boolean {
  if (address.length === 4) return address[0] === 127;
  return address[15] === 1 && address.subarray(0, 15).every(byte => byte === 0);
}
