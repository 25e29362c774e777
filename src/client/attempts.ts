import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds that an address has before the next one is tried, too. */
const STAGGER = 50;

/**
 * Connections to one port that are tried side by side. The first that stands wins, the others are given up: their
 * handshakes are not complete, so the service never hears of them.
 */
export class Attempts {
  readonly #addresses: readonly string[];
  readonly #port: number;
  readonly #pending = new Set<Socket>();
  #win: (socket: Socket) => void = () => {};
  #failure: string | undefined;
  /** Resolves with the connection: half-open allowed, without delay, paused. Never rejects. */
  readonly won = new Promise<Socket>(resolve => {
    this.#win = resolve;
  });

  constructor(addresses: readonly string[], port: number) {
    this.#addresses = addresses;
    this.#port = port;
  }

  /** Why the last one that failed did so, such as ECONNREFUSED; undefined while there was no answer at all. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /**
   * Tries each address once more. Resolves when all of that have failed; rejects with an AbortError. An attempt that
   * nobody answers goes on, and the kernel repeats its SYN after 1 s, 3 s, 7 s.
   */
  async start(signal: AbortSignal): Promise<void> {
    const failures: Promise<void>[] = [];
    for (const [index, address] of this.#addresses.entries()) {
      if (index > 0) await Promise.race([failures.at(-1), delay(STAGGER, undefined, { signal })]);
      signal.throwIfAborted();
      failures.push(this.#try(address));
    }
    await Promise.all(failures);
  }

  giveUp(): void {
    for (const socket of this.#pending) socket.destroy();
    this.#pending.clear();
  }

  /** Resolves when it has failed. */
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
