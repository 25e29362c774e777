import { readDurationWord, type Span } from '../inet/duration.ts';
import { UsageError } from './context.ts';

/** The words of options that several commands have. All functions throw UsageError. */

/** The time that `option` gives, in milliseconds. A number alone means seconds. */
export function readTime(option: string, word: string, span?: Span): number {
  const time = readDurationWord(word, span);
  if (time.ok) return time.value;
  throw new UsageError(`${option} ${word} ${time.wrong}: expected ${time.expected}`);
}

/** How many knocks a random sequence gets. */
export function readKnocks(word = '4'): number {
  const knocks = /^\d+$/.test(word) ? Number(word) : 0;
  if (knocks < 3 || knocks > 32) throw new UsageError(`--knocks ${word}: expected a number from 3 to 32`);
  return knocks;
}
