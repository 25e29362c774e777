import { type Connection, DumpInterruptedError } from '../netlink/connection.ts';
import { NetlinkError, StaleGenerationError } from '../netlink/errors.ts';
import { newChain } from '../nftables/chain.ts';
import type { Change } from '../nftables/change.ts';
import { ANY_GENERATION, commit, readGeneration } from '../nftables/transaction.ts';
import { type Kernel, readKernel } from './read.ts';

/** How often another program may write in between. */
const ATTEMPTS = 100;
/**
 * A program that never stops changing other tables would keep us out for ever. So after this many attempts that failed, the
 * ruleset need not be as it was read. The kernel takes the plan or refuses it as a whole, and we read again to see whether
 * more is to do.
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

/** A plan for what was read of the kernel. */
interface Plan {
  /** One transaction; empty if nothing is to do. */
  readonly changes: readonly Change[];
}

/** A plan that is carried out. */
interface Written {
  /** The size of the transaction; 0 if there was nothing to do. */
  readonly bytes: number;
  /** The generation of the ruleset afterwards. */
  readonly generation: number;
  /** Whether the ruleset had to be as it was read. If not, there may be more to do. */
  readonly checked: boolean;
}

/**
 * All changes of our table go through a writer: loads, grants, revocations, and tokens. Each change is one transaction, and
 * it waits for the one before. A writer tells its own transactions from those of other programs.
 */
export class Writer {
  readonly connection: Connection;
  /**
   * The generation at which our table is as we know it: at first as the caller says, then after each of our transactions.
   * Undefined if another program wrote in between, or may have.
   */
  generation: number | undefined;
  readonly #mayCommit: () => void;
  #transactions = 0;
  #failed = 0;

  /** `mayCommit` is called before each transaction, after the ruleset was read, and may throw. */
  constructor(
    connection: Connection,
    options: { readonly generation?: number | undefined; readonly mayCommit?: (() => void) | undefined } = {},
  ) {
    this.connection = connection;
    this.generation = options.generation;
    this.#mayCommit = options.mayCommit ?? (() => {});
  }

  /** How many transactions there were. */
  get transactions(): number {
    return this.#transactions;
  }

  /**
   * Reads the kernel, plans and commits, and does it again if another program wrote in between, or if `again` says that another
   * plan can avoid the error. `read` is the kernel if the caller has just read it. With `surely` the ruleset must be as it was
   * read also if nothing is to do. Throws {@link StaleGenerationError} if other programs never pause, and NetlinkError if the
   * kernel refuses.
   */
  change<P extends Plan>(
    plan: (kernel: Kernel) => Promise<P>,
    options: {
      readonly again?: (error: unknown, plan: P) => boolean;
      readonly read?: Kernel | undefined;
      readonly surely?: boolean;
    } = {},
  ): Promise<P & Written> {
    let { read: known } = options;
    return retry(async () => {
      const kernel = known ?? (await readKernel(this.connection));
      known = undefined; // another program may have written since
      const { generation } = kernel;
      const planned = await plan(kernel);
      const checked = this.#failed < CHECKED_ATTEMPTS;
      if (planned.changes.length === 0) {
        if (options.surely && checked) await this.#refuseUnless(generation);
        return { ...planned, bytes: 0, generation, checked: true };
      }
      try {
        const committed = await this.#commit(planned.changes, checked ? generation : ANY_GENERATION);
        return { ...planned, ...committed, checked };
      } catch (error) {
        this.#failed++;
        const refused = !checked && error instanceof NetlinkError;
        throw refused || options.again?.(error, planned) ? new StaleGenerationError() : error;
      }
    });
  }

  /** Changes elements of tokens, which make sense whatever else the ruleset is. Throws NetlinkError if the kernel refuses. */
  async putTokens(table: string, changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    const { generation } = this;
    if (generation !== undefined) {
      // the elements may be there already, and only a change makes a generation: naming a chain again is one
      const all = [...changes, newChain(table, { name: 'token' })];
      try {
        await this.#commit(all, generation);
        return;
      } catch (error) {
        if (!(error instanceof StaleGenerationError)) throw error;
      }
    }
    await this.#commit(changes, ANY_GENERATION);
  }

  async #refuseUnless(generation: number): Promise<void> {
    if ((await readGeneration(this.connection)) === generation) return;
    this.#failed++;
    throw new StaleGenerationError();
  }

  async #commit(changes: readonly Change[], generation: number) {
    this.#mayCommit();
    const committed = await commit(this.connection, changes, { generation });
    this.#transactions++;
    this.generation = generation === this.generation ? committed.generation : undefined;
    return committed;
  }
}
