/** Small changes to inputs, as a fuzzer makes them. */
import type { Numbers } from '../numbers.ts';

/** Bytes at the ends of ranges, and those that structure text. */
const TELLING = [0, 1, 4, 0x7f, 0x80, 0xff, ...Buffer.from('{}[]",:/\n\\0 ')] as const;
const MOST_CHANGES = 6;

/** The input with one to six changes; now and then it goes on as another one does. */
export function mutated(
  input: Buffer,
  other: Buffer,
  words: readonly Buffer[],
  longest: number,
  next: Numbers,
): Buffer {
  let bytes = next.chance(0.15) ? spliced(input, other, next) : input;
  for (let left = 1 + next.below(MOST_CHANGES); left > 0; left--) bytes = changed(bytes, words, next);
  return bytes.subarray(0, longest);
}

function spliced(input: Buffer, other: Buffer, next: Numbers): Buffer {
  const from = next.below(other.length + 1);
  return Buffer.concat([input.subarray(0, next.below(input.length + 1)), other.subarray(from)]);
}

function changed(bytes: Buffer, words: readonly Buffer[], next: Numbers): Buffer {
  const at = next.below(bytes.length + 1);
  const count = 1 + next.below(next.chance(0.8) ? 4 : 64);
  const word = words[next.below(Math.max(words.length, 1))] ?? Buffer.alloc(0);
  const byte = next.chance(0.5) ? (TELLING[next.below(TELLING.length)] ?? 0) : next.below(256);
  const put = (piece: Buffer, remove: number) =>
    Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + remove)]);
  switch (next.below(8)) {
    case 0:
      return put(Buffer.from([byte]), 1);
    case 1:
      return put(Buffer.from([(bytes[at] ?? 0) ^ (1 << next.below(8))]), 1);
    case 2:
      return put(Buffer.alloc(0), count);
    case 3:
      return put(Buffer.alloc(count, byte), 0);
    case 4:
      return put(bytes.subarray(at, at + count), 0); // twice
    case 5:
      return put(word, 0);
    case 6:
      return put(word, word.length);
    default: {
      const from = next.below(bytes.length + 1);
      return put(bytes.subarray(from, from + count), next.chance(0.5) ? count : 0);
    }
  }
}
