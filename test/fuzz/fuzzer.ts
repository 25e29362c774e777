/**
 * Changes inputs again and again, and keeps those that take new branches. So it gets deeper into the code than chance alone would.
 */
import type { Numbers } from '../numbers.ts';
import type { Instrumented } from './instrument.ts';
import { mutated } from './mutate.ts';

export interface FuzzOptions {
  readonly next: Numbers;
  /** Inputs that earlier runs kept. */
  readonly corpus: readonly Buffer[];
  /** Whether to go on, given the inputs tried until now. */
  readonly goesOn: (tried: number) => boolean;
  /** False: what an input reaches does not count. Only to show that it does. */
  readonly guided?: boolean;
}

export interface Fuzzed {
  readonly tried: number;
  /** Branches that were taken, and all. */
  readonly taken: number;
  readonly branches: number;
  /** The inputs that took new branches. */
  readonly kept: readonly Buffer[];
  /** The first input that showed a fault, made smaller, and the fault. */
  readonly finding?: { readonly input: Buffer; readonly fault: unknown };
}

const LONGEST = 4096;
/** Counts that tell something new: 1, 2, 3, 4, 8, 16, 32 and 128 times, each a bit. */
const BUCKETS = Uint8Array.from({ length: 256 }, (_, count) => bucket(count));

function bucket(count: number): number {
  if (count < 4) return count === 0 ? 0 : 1 << (count - 1);
  const bounds = [8, 16, 32, 128];
  return 8 << bounds.filter(bound => count >= bound).length;
}

export async function fuzz(
  { fuzz: target, seeds, counters, words }: Instrumented,
  { next, corpus, goesOn, guided = true }: FuzzOptions,
): Promise<Fuzzed> {
  const seen = new Uint8Array(counters.length);
  const kept: Buffer[] = [];
  let tried = 0;

  const faultOf = async (input: Buffer): Promise<unknown> => {
    counters.fill(0);
    tried++;
    try {
      const done = target(input);
      if (done) await done;
      return undefined;
    } catch (fault) {
      return fault ?? new Error('it threw nothing');
    }
  };
  /** Whether the last run took branches, or took them more often than any before. Remembers that. */
  const isNew = () => {
    let found = false;
    for (let branch = 0; branch < counters.length; branch++) {
      const bits = BUCKETS[counters[branch] ?? 0] ?? 0;
      if (bits === 0 || ((seen[branch] ?? 0) & bits) === bits) continue;
      seen[branch] = (seen[branch] ?? 0) | bits;
      found = true;
    }
    return found;
  };
  const result = (finding?: Fuzzed['finding']): Fuzzed => ({
    tried,
    taken: seen.reduce((sum, bits) => sum + Number(bits > 0), 0),
    branches: counters.length,
    kept,
    ...(finding && { finding }),
  });

  for (const input of [...seeds.map(seed => Buffer.from(seed)), ...corpus.toSorted(shorterFirst)]) {
    const fault = await faultOf(input);
    if (fault !== undefined) return result({ input, fault });
    if (isNew()) kept.push(input);
  }
  const start = kept.length;
  const pick = () => {
    // the latest ones have been tried least
    const from = guided && kept.length > start && next.chance(0.5) ? Math.floor(kept.length * 0.7) : 0;
    return kept[from + next.below(kept.length - from)] ?? Buffer.alloc(0);
  };
  while (goesOn(tried)) {
    const input = mutated(pick(), pick(), words, LONGEST, next);
    const fault = await faultOf(input);
    if (fault !== undefined) {
      const same = async (shorter: Buffer) => kindOf(await faultOf(shorter)) === kindOf(fault);
      return result({ input: await shortened(input, 1, same), fault });
    }
    if (isNew() && guided) kept.push(input);
  }
  return result();
}

/** Of these inputs, few that take all branches that the seeds do not take, each without what is not needed for that. */
export async function reduced(
  { fuzz: target, seeds, counters }: Instrumented,
  inputs: readonly Buffer[],
): Promise<readonly Buffer[]> {
  const seen = new Set<number>();
  /** The branches that an input takes, but for those that are seen. */
  const news = async (input: Buffer) => {
    counters.fill(0);
    await target(input);
    return [...counters.keys()].filter(branch => counters[branch] !== 0 && !seen.has(branch));
  };
  for (const seed of seeds) for (const branch of await news(Buffer.from(seed))) seen.add(branch);
  const few: Buffer[] = [];
  for (const input of inputs.toSorted(shorterFirst)) {
    const wanted = await news(input);
    if (wanted.length === 0) continue;
    const least = await shortened(input, 4, async shorter => {
      const taken = new Set(await news(shorter));
      return wanted.every(branch => taken.has(branch));
    });
    for (const branch of await news(least)) seen.add(branch);
    few.push(least);
  }
  return few;
}

/** The input without pieces, of at least `smallest` bytes, that are not needed for what `holds` asks. */
async function shortened(
  input: Buffer,
  smallest: number,
  holds: (shorter: Buffer) => Promise<boolean>,
): Promise<Buffer> {
  let least = input;
  for (let size = input.length >> 1; size >= smallest; size >>= 1)
    for (let at = 0; at < least.length; ) {
      const shorter = Buffer.concat([least.subarray(0, at), least.subarray(at + size)]);
      if (await holds(shorter)) least = shorter;
      else at += size;
    }
  return least;
}

const shorterFirst = (a: Buffer, b: Buffer) => a.length - b.length;

/** The place of a fault: two faults at one place are the same. */
function kindOf(fault: unknown): string {
  return fault instanceof Error
    ? (fault.stack?.split('\n').find(line => /^ {4}at /.test(line)) ?? '')
    : String(fault);
}
