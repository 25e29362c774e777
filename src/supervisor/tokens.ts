import { setTimeout as delay } from 'node:timers/promises';
import { type Fed, unkeptTexts } from '../feeder/apply.ts';
import { feed, noteUses, type TokensWanted, type Use } from '../feeder/feed.ts';
import { readUsed } from '../feeder/kernel.ts';
import { monotonic } from '../host/clock.ts';
import { reasonOf } from '../table/explain.ts';
import type { Writer } from '../table/writer.ts';
import { pauseAfter } from './pauses.ts';
import type { Writes } from './writes.ts';

/** How often to add the tokens of new windows, in milliseconds. */
const TOP_UP = 60_000;
/** If the clocks differ by more than this, the clock was set or the machine slept. In milliseconds. */
const STEP = 2000;
/** How long a load waits for uses to be written down, in milliseconds: the ports may be open meanwhile. */
const URGENT = 1000;

/** The rest of the supervisor, as far as tokens need it. */
interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly writes: Pick<Writes, 'run' | 'isQuiet'>;
  readonly warn: (message: string) => void;
  /** Waits until all that the kernel reported has come; false if some was lost, or if we hear nothing. */
  readonly settle: () => Promise<boolean>;
}

/**
 * Keeps the tokens of the coming hours in the kernel, and writes down which were used. It learns of uses from the
 * kernel's reports, and each second from the kernel's own set. A load feeds by itself. This does the work in between.
 */
export class Tokens {
  readonly #around: Surroundings;
  #wanted: TokensWanted | undefined;
  #standing: Fed = { is: 'none' };
  /** Tokens in the kernel's set of used ones whose uses are written down. */
  #seen = new Set<string>();
  /** Each use since the tokens were fed is written down, except for those that we are writing now. */
  #complete = false;
  #failures = 0;
  #next = 0;
  #offset = 0;
  /** One after the other. */
  #work: Promise<void> = Promise.resolve();
  /** Uses that are not written down yet. */
  #waiting: Use[] = [];
  #busy = false;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  get standing(): Fed {
    return this.#standing;
  }

  /** Whether we know each use until now, even if the table is gone. To be called before a load, which does not wait long for it. */
  async settled(): Promise<boolean> {
    if (!this.#wanted) return false;
    return Promise.race([this.#settle(), delay(URGENT, false, { ref: false })]);
  }

  async #settle(): Promise<boolean> {
    const heard = await this.#around.settle();
    await this.#work;
    return heard && this.#complete && this.#waiting.length === 0;
  }

  /** A load fed the tokens. */
  fed(wanted: TokensWanted | undefined, standing: Fed, now: number): void {
    this.#wanted = wanted;
    this.#seen = new Set();
    this.#take(standing, now);
  }

  /** The kernel reports that a token was used. */
  used(use: Use): void {
    this.#waiting.push(use);
    this.#queue(writer => this.#note(writer));
  }

  /** Reports were lost, so only the kernel's own set shows which tokens were used. */
  lost(): void {
    this.#complete = false;
    this.#next = 0;
  }

  /** To be called once a second; `now` is as `monotonic` counts. */
  tick(now: number): void {
    if (!this.#wanted || this.#busy || !this.#around.writes.isQuiet) return;
    const stepped = Math.abs(Date.now() - now - this.#offset) > STEP;
    if (this.#waiting.length > 0) this.#queue(writer => this.#note(writer));
    else if (now >= this.#next || stepped) this.#queue(writer => this.#topUp(writer, now));
    else this.#queue(writer => this.#look(writer));
  }

  #queue(work: (writer: Writer) => Promise<void>): void {
    this.#busy = true;
    this.#work = this.#around.writes.run(work).then(
      () => {
        this.#busy = false;
      },
      error => {
        this.#busy = false;
        this.#failed(reasonOf(error), monotonic());
      },
    );
  }

  async #note(writer: Writer): Promise<void> {
    const uses = [...this.#waiting];
    const wanted = this.#wanted;
    if (!wanted || uses.length === 0) return;
    const noted = await noteUses(writer, wanted, uses, this.#around.env);
    this.#waiting.splice(0, uses.length);
    if (noted.complete) for (const token of noted.written) this.#seen.add(token);
    else this.lost();
  }

  /** Looks for uses that were not reported. */
  async #look(writer: Writer): Promise<void> {
    const wanted = this.#wanted;
    if (!wanted) return;
    const used = await readUsed(writer.connection, wanted.table);
    if (used.every(token => this.#seen.has(token))) return;
    this.lost();
    await this.#topUp(writer, monotonic());
  }

  async #topUp(writer: Writer, now: number): Promise<void> {
    const wanted = this.#wanted;
    if (!wanted) return;
    const { env } = this.#around;
    const standing = await feed(writer, wanted, { env, watched: false, written: this.#seen });
    if (standing.is === 'gone') return; // the next load makes the table, and feeds it
    this.#take(standing, now);
  }

  #take(standing: Fed, now: number): void {
    const before = this.#standing;
    this.#offset = Date.now() - now;
    if (standing.is === 'failed') {
      this.#failed(standing.message, now);
      return;
    }
    this.#standing = standing;
    this.#failures = 0;
    this.#complete = standing.is === 'fed' && standing.unkept === undefined;
    if (standing.is === 'fed') this.#seen = new Set(standing.used);
    this.#next = now + TOP_UP;
    if (
      standing.is === 'fed' &&
      standing.from !== undefined &&
      !(before.is === 'fed' && before.from === standing.from)
    )
      this.#around.warn(
        `tokens of the minutes before ${new Date(standing.from).toISOString()} are left out: ${standing.why ?? 'some may have been used'}`,
      );
    if (standing.is === 'waiting' && before.is !== 'waiting')
      this.#around.warn(
        'no token opens yet: the clock is not synchronized, and this machine has no other clock',
      );
    if (unkeptTexts(before).length === 0)
      for (const message of unkeptTexts(standing)) this.#around.warn(message);
  }

  #failed(message: string, now: number): void {
    this.#failures++;
    const again = now + pauseAfter(this.#failures);
    this.#next = this.#next > now ? Math.min(this.#next, again) : again;
    if (this.#standing.is !== 'failed' || this.#standing.message !== message)
      this.#around.warn(`tokens cannot be fed: ${message}; trying again`);
    this.#standing = { is: 'failed', message };
  }
}
