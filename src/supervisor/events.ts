import { Connection } from '../netlink/connection.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { bindGroup, decodePackets } from '../netlink/nflog.ts';
import { NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';

/** Packets that the kernel reports, as long as nobody closes this. */
export interface Events {
  readonly group: number;
  readonly close: () => void;
}

/**
 * Listens to an NFLOG group on a socket of its own, and counts in `lost` what did not arrive. Throws NetlinkError EPERM
 * where another program has the group.
 */
export async function openEvents(
  group: number,
  on: { readonly packet: (packet: LoggedPacket) => void; readonly lost: (count: number) => void },
): Promise<Events> {
  const socket = openSocket(NETLINK_NETFILTER);
  const connection = new Connection(socket);
  let expected: number | undefined;
  socket.onDatagram(datagram => {
    for (const packet of decodePackets(datagram)) {
      if (packet.sequence !== undefined) {
        const missing = expected === undefined ? 0 : (packet.sequence - expected) >>> 0;
        if (missing > 0) on.lost(missing);
        expected = (packet.sequence + 1) >>> 0;
      }
      on.packet(packet);
    }
  });
  try {
    await connection.acknowledge(bindGroup(group));
  } catch (error) {
    connection.close();
    throw error;
  }
  return { group, close: () => connection.close() };
}
