import type { Outcome } from '../inet/outcome.ts';
import type { Position, Problem } from './problems.ts';
import type { Node } from './syntax.ts';

/** Gathers the problems of one file (or variable) while we read it, so that all are reported at once. */
export class Report {
  readonly #file: string;
  readonly #hasLines: boolean;
  readonly #problems: Problem[] = [];
  #passing = 0;

  /** `hasLines` is false for an environment variable, whose problems have no place. `at` is null for the file as a whole. */
  constructor(file: string, hasLines = true) {
    this.#file = file;
    this.#hasLines = hasLines;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  error(at: Position | null, message: string): void {
    this.#add('error', at, message);
  }

  /** An error that no change of a file need mend: the next try may read what this one could not. */
  passingError(at: Position, message: string): void {
    this.error(at, message);
    this.#passing++;
  }

  /** Of the errors. */
  get passing(): number {
    return this.#passing;
  }

  warning(at: Position | null, message: string): void {
    this.#add('warning', at, message);
  }

  /** Reports an error as one sentence: the key, what is wrong, what is expected. */
  wrong(at: Position, where: string, what: string, expected: string): undefined {
    this.error(at, `${where}: ${what}; expected ${expected}`);
  }

  /** The value of a good outcome. A bad one is reported with the value that was written. */
  outcome<T>(node: Node, where: string, outcome: Outcome<T>): T | undefined {
    if (outcome.ok) return outcome.value;
    return this.wrong(node.at, where, `${show(node)} ${outcome.wrong}`, outcome.expected);
  }

  #add(severity: Problem['severity'], at: Position | null, message: string): void {
    const { line, column } = (this.#hasLines ? at : null) ?? { line: null, column: null };
    this.#problems.push({ severity, file: this.#file, line, column, message });
  }
}

/** A value in a form that may stand in a message. */
function show(node: Node): string {
  if (node.kind === 'string') return quote(node.value);
  return node.kind === 'number' || node.kind === 'boolean' ? String(node.value) : nameKind(node);
}

/** The kind of a value, for a message about one that might hold a sequence. */
export function nameKind(node: Node): string {
  return node.kind === 'null' ? 'null' : `${/^[aeiou]/.test(node.kind) ? 'an' : 'a'} ${node.kind}`;
}

/** The text in quotes, short, and printable for any terminal or journal. */
export function quote(text: string): string {
  const short = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  return printable(JSON.stringify(short));
}

/** Escapes everything that is not printable ASCII or an ellipsis. */
function printable(text: string): string {
  return text.replace(/[^ -~\u2026]/g, letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
