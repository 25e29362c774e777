import type { Port } from '../inet/port.ts';
import type { Knocks } from './ports.ts';
import type { Position } from './problems.ts';
import type { Report } from './report.ts';
import type { Settings } from './settings.ts';

/** A sequence as it stands in the file. */
export interface PlacedSequence {
  readonly at: Position;
  /** The key, `services.ssh.sequence`. */
  readonly where: string;
  readonly knocks: Knocks;
}

const FEWEST = 3;
const NO_PREFIX = 'sequences of which none is the beginning of another';

/** Reports what is wrong or weak in the sequences, each alone and against the others, in the order of the file. */
export function tellSequences(
  sequences: readonly PlacedSequence[],
  { strict, limits }: Pick<Settings, 'strict' | 'limits'>,
  report: Report,
): void {
  for (const sequence of sequences) {
    tellRepeats(sequence, report);
    tellWeak(sequence, strict, report);
    tellRoom(sequence, limits.progress, report);
  }
  tellPrefixes(sequences, report);
}

/** The kernel cannot tell a repeated knock from a retransmission of the one before. */
function tellRepeats({ where, knocks }: PlacedSequence, report: Report): void {
  for (const [index, knock] of knocks.entries()) {
    const before = knocks[index - 1];
    if (before === undefined || knock === undefined || word(before.value) !== word(knock.value)) continue;
    const what = `knock ${index + 1} is the same as the one before (line ${before.at.line})`;
    report.wrong(knock.at, where, what, 'another port than in the knock before');
  }
}

function tellWeak({ at, where, knocks }: PlacedSequence, strict: boolean, report: Report): void {
  const count = knocks.length;
  if (count < FEWEST) {
    report.warning(
      at,
      `${where}: ${count} ${count === 1 ? 'knock is' : 'knocks are'} easily guessed; ${FEWEST} or more are better`,
    );
  }
  for (const [index, knock] of knocks.entries()) {
    const before = knocks[index - 1];
    if (before === undefined || knock === undefined || !areNeighbours(before.value, knock.value)) continue;
    report.warning(
      knock.at,
      `${where}: the ports of knocks ${index} and ${index + 1} differ by 1; a scan of ports in order makes both`,
    );
  }
  if (!strict && count >= FEWEST && isMonotonic(knocks)) {
    report.warning(
      at,
      `${where}: the ports only rise or only fall; with "strict" off, a scan of ports in order opens the service`,
    );
  }
}

/**
 * With each knock a client takes a new element. The kernel removes the one before only when it collects garbage, each second, and
 * until then it takes room.
 */
function tellRoom({ at, where, knocks }: PlacedSequence, progress: number, report: Report): void {
  if (progress >= knocks.length) return;
  report.warning(
    at,
    `${where}: with "limits.progress" at ${progress}, a client that makes these knocks within a second may not get in; ${knocks.length} is enough for one`,
  );
}

/** All sequences share one automaton. If one is the beginning of another, it would always be completed first. */
function tellPrefixes(sequences: readonly PlacedSequence[], report: Report): void {
  const whole = new Map<string, PlacedSequence>();
  const begun = new Map<string, PlacedSequence>();
  for (const sequence of sequences) {
    if (sequence.knocks.includes(undefined)) continue;
    const other = comparePrefixes(sequence, whole, begun);
    if (other !== undefined) report.wrong(sequence.at, sequence.where, other, NO_PREFIX);
  }
}

/** Compares a sequence with the earlier ones, adds it to them, and returns the problem, if there is one. */
function comparePrefixes(
  sequence: PlacedSequence,
  whole: Map<string, PlacedSequence>,
  begun: Map<string, PlacedSequence>,
): string | undefined {
  let wrong: string | undefined;
  let prefix = '';
  for (const [index, knock] of sequence.knocks.entries()) {
    const isLast = index === sequence.knocks.length - 1;
    prefix += knock === undefined ? '' : word(knock.value);
    const same = whole.get(prefix);
    const longer = begun.get(prefix);
    if (same !== undefined && isLast) wrong ??= `the same as ${place(same)}`;
    else if (same !== undefined)
      wrong ??= `begins with the whole of ${place(same)}, so it could never be completed`;
    else if (longer !== undefined && isLast)
      wrong ??= `the beginning of ${place(longer)}, which could then never be completed`;
    if (!begun.has(prefix) && !isLast) begun.set(prefix, sequence);
    if (isLast && same === undefined) whole.set(prefix, sequence);
  }
  return wrong;
}

/** A knock as two characters, so that a prefix of knocks is a prefix of the text. */
function word({ protocol, port }: Port): string {
  return protocol[0] + String.fromCharCode(port);
}

function place({ where, at }: PlacedSequence): string {
  return `${where} (line ${at.line})`;
}

function areNeighbours(a: Port, b: Port): boolean {
  return a.protocol === b.protocol && Math.abs(a.port - b.port) === 1;
}

function isMonotonic(knocks: Knocks): boolean {
  const steps = knocks
    .slice(1)
    .map((knock, index) => Math.sign((knock?.value.port ?? 0) - (knocks[index]?.value.port ?? 0)));
  return knocks.every(knock => knock !== undefined) && steps.every(step => step === steps[0] && step !== 0);
}
