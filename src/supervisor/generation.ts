import { monotonic } from '../host/clock.ts';
import { Connection } from '../netlink/connection.ts';
import { type KernelSocket, NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';
import { NFT_MSG } from '../nftables/message.ts';
import { Losses, NFNLGRP_NFTABLES } from '../nftables/notification.ts';
import { readGeneration } from '../nftables/transaction.ts';

type Told =
  | { readonly is: 'generation'; readonly generation: number }
  | { readonly is: 'no generation'; readonly message: string };

/** How long an answer counts if the kernel notifies of nothing, in milliseconds. It may have no memory for a notification. */
const TRUSTED = 10_000;

/**
 * The ruleset's generation tells us that another program changed the ruleset. The kernel notifies of each commit, and then we ask
 * for it at the next look. If another program removes our table, all ports are open until we put it back, so for that we do not
 * wait.
 */
export class Generation {
  /** The table in force; undefined if there is none. */
  readonly #table: () => string | undefined;
  readonly #tell: (told: Told) => void;
  readonly #warn: (message: string) => void;
  #asking: Connection | undefined;
  #hearing: KernelSocket | undefined;
  #isDeaf = false;
  /** When we asked last, as `monotonic` counts; undefined if the kernel notified of a commit since, or gave no answer. */
  #trusted: number | undefined;

  constructor(table: () => string | undefined, tell: (told: Told) => void, warn: (message: string) => void) {
    this.#table = table;
    this.#tell = tell;
    this.#warn = warn;
  }

  /** The connection that we asked last; undefined if that failed. */
  get connection(): Connection | undefined {
    return this.#asking;
  }

  /** Whether the generation is still that of the last answer. */
  isTrusted(now: number): boolean {
    return this.#hearing !== undefined && this.#trusted !== undefined && now - this.#trusted < TRUSTED;
  }

  /** Reports the answer. `anew` asks on another socket. */
  async ask(anew: boolean): Promise<void> {
    this.#hear();
    this.#trusted = monotonic(); // before the question: a commit after it is notified after this
    if (anew) this.#hangUp();
    let connection: Connection | undefined;
    try {
      this.#asking ??= new Connection(openSocket(NETLINK_NETFILTER));
      connection = this.#asking;
      const generation = await readGeneration(connection);
      if (connection === this.#asking) this.#tell({ is: 'generation', generation });
    } catch (error) {
      if (connection !== this.#asking) return; // we ask on another one by now
      this.#hangUp();
      this.#trusted = undefined;
      const message = messageOf(error);
      setImmediate(() => this.#tell({ is: 'no generation', message }));
    }
  }

  close(): void {
    this.#hangUp();
    this.#hearing?.close();
    this.#hearing = undefined;
  }

  #hangUp(): void {
    this.#asking?.close();
    this.#asking = undefined;
  }

  /**
   * New elements take nothing away. A load of tokens has a hundred thousand of them, which would cost us much memory to read.
   * Without notifications we still ask. So each question tries this again, and a failure is reported once.
   */
  #hear(): void {
    if (this.#hearing) return;
    try {
      const socket = openSocket(NETLINK_NETFILTER, NFNLGRP_NFTABLES, NFT_MSG.NEWSETELEM);
      const losses = new Losses();
      socket.onDatagram(datagram => {
        this.#trusted = undefined;
        const table = this.#table();
        if (table === undefined) return;
        for (const generation of losses.in(datagram, table)) this.#tell({ is: 'generation', generation });
      });
      this.#hearing = socket;
      this.#isDeaf = false;
    } catch (error) {
      if (!this.#isDeaf)
        this.#warn(
          `the kernel does not notify of changes (${messageOf(error)}): changes are noticed a second later`,
        );
      this.#isDeaf = true;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
