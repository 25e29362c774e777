import { happenings } from '../ruleset/happenings.ts';
import type { Status } from '../ruleset/status.ts';
import { clockText } from './clock.ts';
import { type Seen, seenText } from './hearing.ts';
import type { Look } from './looks.ts';

/** The most lines for one look. Under a flood nobody reads more. */
const MOST = 100;

/** Turns happenings into lines. */
interface Teller {
  /** For the first look. */
  readonly begin: (time: Date, status: Status) => readonly string[];
  readonly happening: (time: Date, seen: Seen) => string;
  /** Stands for those beyond the most. */
  readonly more: (time: Date, count: number) => string;
}

/** For people: `12:00:01 ssh: 192.0.2.7 is in for 10s`. */
export const textTeller: Teller = {
  begin: (time, status) => limited(textTeller, time, happenings(undefined, status, 0)),
  happening: (time, seen) => `${clockText(time)} ${seenText(seen)}`,
  more: (time, count) => `${clockText(time)} … ${count} more`,
};

/**
 * For programs: an object a line. The first is the whole status. `time` is in milliseconds. Events are as the
 * supervisor reported them.
 */
export const jsonTeller: Teller = {
  begin: (time, status) => [JSON.stringify({ time: time.getTime(), event: 'status', ...status })],
  happening: (time, seen) =>
    JSON.stringify(seen.event === 'told' ? seen.told : { time: time.getTime(), ...seen }),
  more: (time, count) => JSON.stringify({ time: time.getTime(), event: 'more', count }),
};

/** Prints a line for each thing that happens. */
export async function watchLines(
  looks: AsyncIterable<Look>,
  teller: Teller,
  print: (line: string) => void,
): Promise<void> {
  let before: Status | undefined;
  for await (const { status, seconds, told } of looks) {
    const time = new Date();
    const lines = before
      ? limited(teller, time, [...told, ...happenings(before, status, seconds)])
      : teller.begin(time, status);
    for (const line of lines) print(line);
    before = status;
  }
}

function limited(teller: Teller, time: Date, happened: readonly Seen[]): string[] {
  const lines = happened.slice(0, MOST).map(happening => teller.happening(time, happening));
  return happened.length > MOST ? [...lines, teller.more(time, happened.length - MOST)] : lines;
}
