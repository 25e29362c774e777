import { Connection } from '../netlink/connection.ts';
import { NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';
import { Writer } from '../table/writer.ts';

/** The supervisor's own changes of the table between loads, one after the other, so that none passes for another program's. */
export class Writes {
  /** The ruleset's generation as we know it; undefined while a load runs, and during a hold. */
  readonly #generation: () => number | undefined;
  readonly #wrote: (generation: number) => void;
  /** It stays open, since opening one takes longer than a look. */
  #connection: Connection | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** `wrote` hears the generation that we made, unless another program wrote in between. */
  constructor(generation: () => number | undefined, wrote: (generation: number) => void) {
    this.#generation = generation;
    this.#wrote = wrote;
  }

  /** Whether our table is as we know it, as far as we know. */
  get isQuiet(): boolean {
    return this.#generation() !== undefined;
  }

  /** Calls `use` when all earlier calls are done. After a failure the next one gets another connection. */
  run<T>(use: (writer: Writer) => Promise<T>): Promise<T> {
    const done = this.#last.then(() => this.#run(use));
    this.#last = done.catch(() => {});
    return done;
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }

  async #run<T>(use: (writer: Writer) => Promise<T>): Promise<T> {
    this.#connection ??= new Connection(openSocket(NETLINK_NETFILTER));
    const generation = this.#generation();
    const writer = new Writer(this.#connection, { generation });
    try {
      return await use(writer);
    } catch (error) {
      this.close();
      throw error;
    } finally {
      if (writer.generation !== undefined && writer.generation !== generation) this.#wrote(writer.generation);
    }
  }
}
