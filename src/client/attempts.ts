// client/ is the other side: it opens a port of a server, with knocks or with tokens, and makes a page that does so.
// It runs on laptops, so nothing here needs Linux, netlink or the C library.
// Floor 4: it imports only from rooms on lower floors.

import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** How long an address has before the next one is tried, too, in milliseconds. */
const STAGGER = 50;

/**
 * Connections to one port that are tried side by side. The first that stands wins, and the others are given up: their
 * handshakes are not complete, so the service never hears of them.
 */
export class Attempts {
  readonly #port: number;
  readonly #pending = new Set<Socket>();
  #given = 0;
  #win: (socket: Socket) => void = () => {};
  #failure: string | undefined;
  /** Resolves with the connection: half-open allowed, without delay, paused. Never rejects. */
  readonly won = new Promise<Socket>(resolve => {
    this.#win = resolve;
  });

  constructor(port: number) {
    this.#port = port;
  }

  /** The error of the last attempt that failed, such as ECONNREFUSED; undefined while there was no answer at all. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /**
   * Tries each of the addresses once more. Resolves when all these attempts have failed, and rejects with an AbortError. Without
   * an answer an attempt goes on, and the kernel repeats its SYN after 1 s, 3 s, 7 s.
   */
  async start(addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const failures: Promise<void>[] = [];
    const given = this.#given;
    for (const [index, address] of addresses.entries()) {
      if (index > 0) await Promise.race([failures.at(-1), delay(STAGGER, undefined, { signal })]);
      signal.throwIfAborted();
      if (given !== this.#given) return;
      failures.push(this.#try(address));
    }
    await Promise.all(failures);
  }

  /** Ends all attempts under way. */
  giveUp(): void {
    this.#given++;
    for (const socket of this.#pending) socket.destroy();
    this.#pending.clear();
  }

  /** Resolves when the attempt has failed. */
  #try(host: string): Promise<void> {
    return new Promise(failed => {
      const options = { host, port: this.#port, allowHalfOpen: true, noDelay: true, keepAlive: true };
      const socket = createConnection(options);
      this.#pending.add(socket);
      socket.on('error', ({ code }: NodeJS.ErrnoException) => {
        this.#failure = code;
        this.#pending.delete(socket);
        failed();
      });
      socket.once('connect', () => {
        this.#pending.delete(socket);
        this.giveUp();
        this.#win(socket);
      });
    });
  }
}
