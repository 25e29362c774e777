import { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { bindGroup, decodePackets } from '../netlink/nflog.ts';
import { NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';

/** What becomes of the packets that the kernel reports. */
export interface EventHandler {
  readonly packet: (packet: LoggedPacket) => void;
  /** Another program has the group: told once, until we have one. */
  readonly taken: (group: number) => void;
}

/** The packets of an NFLOG group, on a socket of its own; without them everything else goes on. */
export class Events {
  readonly #on: EventHandler;
  #open: { readonly group: number; readonly connection: Connection } | undefined;
  #taken: number | undefined;
  #lost = 0;
  /** One group after the other: else we would be the other program. */
  #listening: Promise<void> = Promise.resolve();

  constructor(on: EventHandler) {
    this.#on = on;
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** How many did not arrive since this was asked for. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  close(): void {
    this.#open?.connection.close();
    this.#open = undefined;
  }

  /** Listens to this group, and to no other any more. */
  listen(group: number): Promise<void> {
    const listening = this.#listening.then(() => this.#listen(group));
    this.#listening = listening.catch(() => {});
    return listening;
  }

  async #listen(group: number): Promise<void> {
    if (this.#open?.group === group) return;
    this.close();
    const connection = this.#connect();
    try {
      await connection.acknowledge(bindGroup(group));
      this.#open = { group, connection };
      this.#taken = undefined;
    } catch (error) {
      connection.close();
      if (!(error instanceof NetlinkError)) throw error;
      if (this.#taken !== group) this.#on.taken(group);
      this.#taken = group;
    }
  }

  #connect(): Connection {
    const socket = openSocket(NETLINK_NETFILTER);
    const connection = new Connection(socket);
    let expected: number | undefined;
    socket.onDatagram(datagram => {
      for (const packet of decodePackets(datagram)) {
        if (packet.sequence !== undefined) {
          if (expected !== undefined) this.#lost += (packet.sequence - expected) >>> 0;
          expected = (packet.sequence + 1) >>> 0;
        }
        this.#on.packet(packet);
      }
    });
    return connection;
  }
}
