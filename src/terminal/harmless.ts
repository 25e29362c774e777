import { randomBytes } from 'node:crypto';

/**
 * Makes text of others harmless. Names, comments and errors may hold characters that a terminal obeys, or that hide what a line
 * really says. Everything that we print goes through here, in {@link writeLines} and on the live screen, so that no
 * other code has to take care of this.
 */

/** Stands for the escape character in our own colours. It is random, so no other text can contain it. */
const OURS = `\u001b${randomBytes(12).toString('hex')}`;

/**
 * Our colours, a line's indentation, and what must not be printed: control characters (C0, DEL, C1), signs that format or turn
 * the direction of text (soft hyphens, zero-width and bidirectional ones, tags), separators of lines, halves of pairs.
 */
const SPECIAL = new RegExp(`${OURS}(?=\\[[\\d;]*m)|^\\t+|[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}]`, 'gu');

const PLAIN = /^[ -~]*$/;

/** One line. Escapes as in JSON, `\u001b`, replace what it must not hold, so a line of JSON keeps its meaning. */
export function harmless(line: string): string {
  return replace(line, OURS);
}

/** The line as it is printed, with our colours. */
export function written(line: string): string {
  return replace(line, '\u001b');
}

/** A text with escape sequences of our own colours around harmless words. */
export function ours(coloured: string): string {
  return coloured.replaceAll('\u001b', OURS);
}

/** The only way for results and messages to standard output and standard error. */
export function writeLines(stream: NodeJS.WritableStream, lines: string | readonly string[]): void {
  const text = typeof lines === 'string' ? written(lines) : lines.map(written).join('\n');
  stream.write(`${text}\n`);
}

function replace(line: string, colour: string): string {
  if (PLAIN.test(line)) return line; // most are, and there may be very many
  return line.replace(SPECIAL, (found, offset: number) => {
    if (found === OURS) return colour;
    return offset === 0 && found.startsWith('\t') ? found : escaped(found);
  });
}

/** Each UTF-16 unit as `\u0085`. */
function escaped(text: string): string {
  return text.replace(/./gs, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
