/**
 * The files in force and the disturbances over time, and their promises to strangers and clients. A question to the kernel takes
 * time, so it is a span, and an answer is wrong only if it is wrong for each moment of the span. All times are milliseconds of
 * `performance.now()`.
 */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** The promises of a configuration. */
export interface Rules {
  readonly guarded: ReadonlySet<number>;
  /** Seconds, of all services that clients come to. */
  readonly openFor: number;
  readonly hook: string;
  readonly table: string;
}

/** A client's knocks, from the first to the last, or its token. */
export interface Opening extends Span {
  readonly by: 'sequence' | 'sequence for a single use' | 'token';
}

export type Expected = 'open' | 'closed' | 'either';

/** The kernel's clock for elements, and ours. */
const SLACK = 100;
/** The same for a client that the supervisor put back. */
const RESTORED_SLACK = 1000;

const overlap = (one: Span, other: Span) => one.from <= other.to && other.from <= one.to;

interface OpenSpan {
  readonly from: number;
  to: number;
}

export class Timeline {
  readonly #saved: { readonly from: number; settled: number; readonly rules: Rules }[] = [];
  /**
   * Times in which another program had removed or changed our rules: all is open, or by `policy` all is closed, and places in
   * mid-sequence are lost.
   */
  readonly #exposed: OpenSpan[] = [];
  /** Times without a supervisor. */
  readonly #dead: OpenSpan[] = [];
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** To be called before a file is saved; the result when it is in force. */
  saves(rules: Rules): () => void {
    const saved = { from: this.#now(), settled: Number.POSITIVE_INFINITY, rules };
    this.#saved.push(saved);
    return () => {
      saved.settled = Math.min(saved.settled, this.#now());
    };
  }

  /** To be called before the damage; the result when it is mended. */
  exposes(): () => void {
    return this.#begin(this.#exposed);
  }

  /** To be called before the supervisor is ended; the result when the next one has loaded. */
  dies(): () => void {
    return this.#begin(this.#dead);
  }

  #begin(spans: OpenSpan[]): () => void {
    const span: OpenSpan = { from: this.#now(), to: Number.POSITIVE_INFINITY };
    spans.push(span);
    return () => {
      span.to = this.#now();
    };
  }

  get exposures(): readonly Span[] {
    return this.#exposed;
  }

  /** The ports that the last file guards. */
  get guarded(): readonly number[] {
    return [...(this.#saved.at(-1)?.rules.guarded ?? [])];
  }

  /** The rules of all files that may have been in force then. */
  #possible(span: Span): readonly Rules[] {
    const first = this.#saved.findLastIndex(({ settled }) => settled < span.from);
    return this.#saved
      .slice(Math.max(first, 0))
      .filter(({ from }) => from <= span.to)
      .map(({ rules }) => rules);
  }

  /** Whether others may have changed our rules at some moment of that time. */
  isExposed(span: Span): boolean {
    return this.#exposed.some(exposed => overlap(exposed, span));
  }

  /** Whether the port may be open to a stranger at some moment of that time. */
  mayBeOpen(port: number, span: Span): boolean {
    return this.isExposed(span) || this.#possible(span).some(({ guarded }) => !guarded.has(port));
  }

  /** The state of the port for a client that made an opening before. */
  expected(opening: Opening, attempt: Span): Expected {
    if (this.isExposed(attempt)) return 'either';
    const rules = this.#possible(opening);
    const since = this.#exposed.filter(exposed => overlap(exposed, { from: opening.from, to: attempt.to }));
    const slack = since.length > 0 ? RESTORED_SLACK : SLACK;
    const shortest = Math.min(...rules.map(({ openFor }) => openFor)) * 1000;
    const longest = Math.max(...rules.map(({ openFor }) => openFor)) * 1000;
    if (attempt.from > opening.to + longest + slack) return 'closed';
    if (attempt.to > opening.from + shortest - slack) return 'either';
    return since.some(exposed => this.#forgets(exposed, opening)) || this.#changesMeanwhile(opening, attempt)
      ? 'either'
      : 'open';
  }

  /** Nobody knows of the opening afterwards: it was not there yet, or is never remembered, or there was nobody to do so. */
  #forgets(exposed: Span, opening: Opening): boolean {
    const isRemembered = opening.by !== 'sequence for a single use';
    return !isRemembered || overlap(exposed, opening) || this.#dead.some(dead => overlap(dead, exposed));
  }

  /** The few openings that a change of the file may cost. */
  #changesMeanwhile(opening: Opening, attempt: Span): boolean {
    const differ = (span: Span, key: 'hook' | 'table') =>
      new Set(this.#possible(span).map(rules => rules[key])).size > 1;
    // knocks that end while the new table reads what the former one knows are known to the former one alone, for a moment
    const isBetweenTables = differ(opening, 'table');
    switch (opening.by) {
      case 'sequence':
        return isBetweenTables && differ(attempt, 'table');
      case 'sequence for a single use': // also a packet that is between two hooks when these change may be the one use
        return isBetweenTables || differ({ from: opening.from, to: attempt.to }, 'hook');
      case 'token': // none opens at that moment
        return isBetweenTables;
    }
  }
}
