import { bad, good, type Outcome } from './outcome.ts';

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;
const PATTERN = /^(?:(\d{1,12})d)?(?:(\d{1,12})h)?(?:(\d{1,12})m)?(?:(\d{1,12})s)?(?:(\d{1,12})ms)?$/;

/** The limits of a duration in milliseconds, both included, and how to say them. */
export interface Span {
  readonly shortest: number;
  readonly longest: number;
  readonly expected: string;
}

/** The limits of nearly every duration. */
export const USUAL: Span = {
  shortest: 1000,
  longest: 365 * 86_400_000,
  expected: 'seconds as a number, or a duration such as "5s", "1m30s", "2h" or "7d", from 1 s to 365 d',
};

/** Reads seconds (to the millisecond) or nft's notation (`1m30s`) as milliseconds, from 1 s to 365 d by default. */
export function readDuration(
  written: number | string,
  { shortest, longest, expected } = USUAL,
): Outcome<number> {
  const milliseconds = typeof written === 'number' ? fromSeconds(written) : fromText(written);
  if (milliseconds === undefined) return bad('is no duration', expected);
  if (!Number.isInteger(milliseconds)) return bad('is finer than a millisecond', expected);
  if (milliseconds < shortest) return bad('is too short', expected);
  if (milliseconds > longest) return bad('is too long', expected);
  return good(milliseconds);
}

/** Like {@link readDuration}, for a word of the command line, in which a number is text. */
export function readDurationWord(word: string, span = USUAL): Outcome<number> {
  return readDuration(/^\d+(\.\d+)?$/.test(word) ? Number(word) : word, span);
}

/** Milliseconds in nft's notation: 90000 is `1m30s`. */
export function formatDuration(milliseconds: number): string {
  let text = '';
  let rest = milliseconds;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}

/** 1.1 * 1000 is 1100.0000000000002: a value so near to a whole number was written as one. */
function fromSeconds(seconds: number): number | undefined {
  if (!Number.isFinite(seconds)) return undefined;
  const milliseconds = seconds * 1000;
  const whole = Math.round(milliseconds);
  return Math.abs(milliseconds - whole) < 1e-4 ? whole : milliseconds;
}

function fromText(text: string): number | undefined {
  const counts = text === '' ? null : PATTERN.exec(text);
  if (counts === null) return undefined;
  return UNITS.reduce((sum, [, size], index) => sum + Number(counts[index + 1] ?? 0) * size, 0);
}
