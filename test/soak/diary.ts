import { setMaxListeners } from 'node:events';

/** The operations of a soak and its violations. Each violation names the operations before it. */

/** Of the operations, the last ones that a violation names. */
const LAST = 3;

interface Line {
  /** In milliseconds from the start. */
  readonly at: number;
  readonly text: string;
}

const textOf = ({ at, text }: Line) => `${(at / 1000).toFixed(2).padStart(8)} s  ${text}`;

export class Diary {
  readonly #start = performance.now();
  readonly #lines: Line[] = [];
  readonly #operations: string[] = [];
  readonly #violations: string[] = [];
  readonly #counts = new Map<string, number>();
  readonly #ended = new AbortController();
  readonly #print: (line: string) => void;
  readonly #last: RegExp;

  /** The soak ends with a violation like `last`. */
  constructor(print: (line: string) => void, last: RegExp) {
    this.#print = print;
    this.#last = last;
    setMaxListeners(100, this.#ended.signal); // every pause of every visitor
  }

  /** Aborted by a violation that ends the soak, or by {@link end}. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get violations(): readonly string[] {
    return this.#violations;
  }

  /** All that was done, with what supervisors wrote into their journals in between. */
  with(journal: readonly string[]): readonly string[] {
    const told = journal.map(line => ({ at: this.#timeOf(line), text: `   journal: ${line}` }));
    return [...this.#lines, ...told].sort((a, b) => a.at - b.at).map(textOf);
  }

  /** Of a line of a journal: JSON, with milliseconds of the epoch. */
  #timeOf(line: string): number {
    return Number(/"time":(\d+)/.exec(line)?.[1] ?? 0) - performance.timeOrigin - this.#start;
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  now = (): number => performance.now() - this.#start;

  #write(line: string): string {
    const written = { at: this.now(), text: line };
    this.#lines.push(written);
    return textOf(written).trim();
  }

  note(line: string): void {
    this.#write(line);
  }

  /** Records the operation that is about to be done to the server. */
  operation(what: string): void {
    this.#operations.push(this.#write(`#${this.#operations.length + 1} ${what}`));
    this.count('operations');
  }

  count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  /** A promise is broken. */
  violation(what: string): void {
    const before = this.#operations.slice(-LAST).map(line => `\n    after ${line}`);
    const line = this.#write(`VIOLATION ${what}${before.join('')}`);
    this.#violations.push(line);
    this.#print(line);
    if (this.#last.test(line)) this.end();
  }

  end(): void {
    this.#ended.abort();
  }
}
