import { readFileSync } from 'node:fs';
import { unmapped } from '../inet/address.ts';
import type { Protocol } from '../inet/protocol.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { type InetSocket, readSockets } from '../netlink/inet-diag.ts';

/** A socket that may be looked at, and not ended. */
export type SeenSocket = Omit<InetSocket, 'handle'>;

/**
 * The sockets as {@link readSockets} has them. If the kernel lacks the module for it (tcp_diag, udp_diag), `/proc`
 * lists them, which takes longer if there are thousands.
 */
export async function listSockets(
  diagnostics: Connection,
  protocol: Protocol,
  states: number,
): Promise<readonly SeenSocket[]> {
  try {
    return await readSockets(diagnostics, protocol, states);
  } catch (error) {
    if (!isLacking(error)) throw error;
    return listedSockets(protocol).filter(({ state }) => states & (1 << state));
  }
}

/** Whether the kernel can be asked for its TCP connections, and so can end them. */
export async function hasDiagnostics(diagnostics: Connection): Promise<boolean> {
  try {
    await readSockets(diagnostics, 'tcp', 0);
    return true;
  } catch (error) {
    if (!isLacking(error)) throw error;
    return false;
  }
}

/**
 * Whether {@link readSockets} failed because no module answers for this protocol (inet_diag_lock_handler of
 * net/ipv4/inet_diag.c).
 */
export function isLacking(error: unknown): boolean {
  return (
    error instanceof NetlinkError && error.code === 'ENOENT' && error.failure.subject.endsWith(' sockets')
  );
}

/**
 * All sockets that `/proc/net/tcp` or `/proc/net/udp` list, and those for IPv6
 * (Documentation/networking/proc_net_tcp.rst).
 */
export function listedSockets(protocol: Protocol): SeenSocket[] {
  return [`/proc/self/net/${protocol}`, `/proc/self/net/${protocol}6`].flatMap(path => {
    const [, ...lines] = linesOf(path); // a head comes first
    return lines.map(line => {
      const [, local = '', remote = '', state = '', , , , , , inode] = line.trim().split(/\s+/);
      const [address, port] = endOf(local);
      const [peer, peerPort] = endOf(remote);
      return { protocol, state: parseInt(state, 16), address, port, peer, peerPort, inode: Number(inode) };
    });
  });
}

/** None if the kernel has no IPv6. */
function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    if (path.endsWith('6') && error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** `0100007F:0016`: each four bytes of the address as a number in the processor's order, then the port. */
function endOf(text: string): readonly [address: Buffer, port: number] {
  const [address = '', port = ''] = text.split(':');
  return [unmapped(Buffer.from(address, 'hex').swap32()), parseInt(port, 16)];
}
