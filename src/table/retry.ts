import { type Connection, DumpInterruptedError } from '../netlink/connection.ts';
import { NetlinkError, StaleGenerationError } from '../netlink/errors.ts';
import { ANY_GENERATION, commit, type Message } from '../netlink/nfnetlink.ts';

/** How often another writer may come in between. */
const ATTEMPTS = 100;
/**
 * Whoever changes other tables without a pause would keep us out for ever. So after a while the ruleset need not be as it
 * was read: what was planned goes in or is refused as a whole, and is read again to see whether more is to be done.
 */
const CHECKED_ATTEMPTS = 10;

/** Does it again when another writer came in between. */
export async function retry<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = ATTEMPTS; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      const inBetween = error instanceof StaleGenerationError || error instanceof DumpInterruptedError;
      if (!inBetween || left <= 1) throw error;
    }
  }
}

/** The commits of one change that is read, planned and committed until it is done. */
export class Commits {
  readonly #connection: Connection;
  #attempts = CHECKED_ATTEMPTS;
  #done = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** How many there were. */
  get done(): number {
    return this.#done;
  }

  /**
   * Commits what was planned for `generation`. `checked` says whether the ruleset was still that: where it need not be,
   * what the kernel refuses counts as {@link StaleGenerationError}.
   */
  async commit(messages: readonly Message[], generation: number) {
    const checked = this.#attempts-- > 0;
    const options = { generation: checked ? generation : ANY_GENERATION };
    const committed = await commit(this.#connection, messages, options).catch(error => {
      throw !checked && error instanceof NetlinkError ? new StaleGenerationError() : error;
    });
    this.#done++;
    return { ...committed, checked };
  }
}
