import { harmless } from './harmless.ts';

/** The widest that text may be. Wider text is hard to read. */
const WIDEST = 80;

/** The width for text on this stream. */
export function textWidth({ columns }: NodeJS.WriteStream): number {
  return Math.min(columns || WIDEST, WIDEST);
}

/** Breaks a paragraph into lines of at most `width` characters, between words. A longer word gets a line of its own. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of harmless(text).split(/\s+/)) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
