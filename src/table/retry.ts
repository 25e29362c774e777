import { type Connection, DumpInterruptedError } from '../netlink/connection.ts';
import { NetlinkError, StaleGenerationError } from '../netlink/errors.ts';
import type { Change } from '../nftables/change.ts';
import { ANY_GENERATION, commit } from '../nftables/transaction.ts';

/** How often another program may write in between. */
const ATTEMPTS = 100;
/**
 * A program that never stops changing other tables would keep us out for ever. So after this many attempts the ruleset need
 * not be as it was read. The kernel takes the plan or refuses it as a whole, and we read again to see whether more is to do.
 */
const CHECKED_ATTEMPTS = 10;

/** Repeats the attempt if another program wrote in between. */
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

/** The commits of one change, which is read, planned and committed until it is done. */
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
   * Commits what was planned for `generation`. `checked` says whether the ruleset had to be that. If it need not be, a refusal
   * by the kernel counts as {@link StaleGenerationError}.
   */
  async commit(changes: readonly Change[], generation: number) {
    const checked = this.#attempts-- > 0;
    const options = { generation: checked ? generation : ANY_GENERATION };
    const committed = await commit(this.#connection, changes, options).catch(error => {
      throw !checked && error instanceof NetlinkError ? new StaleGenerationError() : error;
    });
    this.#done++;
    return { ...committed, checked };
  }
}
