import { monotonic } from '../host/clock.ts';
import { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { bindGroup, decodePackets, fenceGroup } from '../netlink/nflog.ts';
import { type KernelSocket, NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';

/** The packets of an NFLOG group, on a socket of its own. Without them everything else goes on. */
export class Events {
  readonly #onPacket: (packet: LoggedPacket) => void;
  #open:
    | { readonly group: number; readonly connection: Connection; readonly socket: KernelSocket }
    | undefined;
  /** Counted by gaps between those that came, and by the kernel, which had no room for some. Those may be the last ones. */
  #lost = 0;
  #dropped = 0;
  /** One group after the other, or we would ourselves be the other program that holds the group. */
  #listening: Promise<string | undefined> = Promise.resolve(undefined);

  constructor(onPacket: (packet: LoggedPacket) => void) {
    this.#onPacket = onPacket;
  }

  /** How many were lost since the last call. */
  takeLost(): number {
    const dropped = this.#open?.socket.lost() ?? this.#dropped;
    const lost = Math.max(this.#lost, dropped - this.#dropped);
    this.#lost = 0;
    this.#dropped = dropped;
    return lost;
  }

  close(): void {
    this.#open?.connection.close();
    this.#open = undefined;
  }

  /** Resolves when all that the kernel reported until now has come; false if some was lost, or if we hear nothing. */
  async settle(): Promise<boolean> {
    const open = this.#open;
    if (!open) return false;
    try {
      await open.connection.acknowledge(fenceGroup(open.group));
      return this.#lost === 0 && open.socket.lost() === this.#dropped;
    } catch {
      return false;
    }
  }

  /** Listens to this group only. Resolves with the reason if it cannot, or undefined if it can. */
  listen(group: number): Promise<string | undefined> {
    this.#listening = this.#listening.then(() => this.#listen(group));
    return this.#listening;
  }

  async #listen(group: number): Promise<string | undefined> {
    if (this.#open?.group === group) return undefined;
    this.close();
    let connection: Connection | undefined;
    try {
      const socket = openSocket(NETLINK_NETFILTER);
      connection = this.#connect(socket);
      await connection.acknowledge(bindGroup(group));
      this.#open = { group, connection, socket };
      this.#dropped = 0;
      return undefined;
    } catch (error) {
      connection?.close();
      if (error instanceof NetlinkError && error.code === 'EPERM')
        return `NFLOG group ${group} is held by another program`;
      return `NFLOG group ${group} cannot be read (${error instanceof Error ? error.message : error})`;
    }
  }

  #connect(socket: KernelSocket): Connection {
    const connection = new Connection(socket);
    let expected: number | undefined;
    socket.onDatagram(datagram => {
      for (const packet of decodePackets(datagram)) {
        if (packet.sequence !== undefined) {
          if (expected !== undefined) this.#lost += (packet.sequence - expected) >>> 0;
          expected = (packet.sequence + 1) >>> 0;
        }
        this.#onPacket(packet);
      }
    });
    return connection;
  }
}

/**
 * When a packet came: between two moments, in milliseconds as `monotonic` counts. It may have waited while we were stopped. The
 * kernel gives the time by a clock that may have been set since; older kernels mostly give none. The packet came no earlier
 * than `earliest`, and if the time is in doubt, it may have come just now.
 */
export function cameAt(
  { time }: Pick<LoggedPacket, 'time'>,
  earliest: number,
  now = monotonic(),
  clock = Date.now(),
): { readonly earliest: number; readonly latest: number } {
  const at = time === undefined ? earliest : now - (clock - time);
  return at > earliest && at <= now ? { earliest: at, latest: at } : { earliest, latest: now };
}
