import { setTimeout as delay } from 'node:timers/promises';
import { withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { startOf } from '../host/proc.ts';
import { readEnd } from './end.ts';
import { isUnderWay, readTrial, type Trial, UnreadableTrialError } from './notes.ts';
import { confirmTrial, endOf, type Settled, undoTrial } from './settle.ts';
import { Witness } from './witness.ts';

/** How often to look for what ends a trial, in milliseconds: an opening lasts a second or longer. */
export const LOOK = 500;
/** The same until the trial is there: it may end soon, and its notes may be taken away. */
const LOOK_FOR = 50;
/** How long after a failure to try again: longer each time. */
const PAUSE = 100;
const LONGEST = 30_000;

type Tell = (error: unknown) => void;

/**
 * Looks for a knock that shows what is tried, and confirms by it. Where that cannot be, it tells why, once: the trial goes on.
 */
export function knockConfirms(
  env: NodeJS.ProcessEnv,
  id: string,
  tell: Tell,
): () => Promise<Settled | undefined> {
  let witness: Witness | undefined;
  return async () => {
    try {
      const trial = witness ? undefined : readTrial(env);
      if (trial?.id === id && trial.start) witness = new Witness(trial.start);
      const found = witness;
      const shown = found && (await withKernel(({ connection }) => found.look(connection)));
      return shown && (await confirmTrial(env, id, shown));
    } catch (error) {
      tell(error);
      return undefined;
    }
  };
}

/**
 * What outlives `try`: goes back when the time of a trial is over, or `after` milliseconds from now where its notes do not
 * say. While the command does not run any more, a knock confirms here. Returns how it ended, unless others ended it. No
 * failure ends this, but for {@link UnreadableTrialError} when the time is over; it pauses, and tries again.
 *
 * What it has read of the notes it remembers: whoever takes them away confirms nothing.
 */
export async function settleInTime(
  env: NodeJS.ProcessEnv,
  id: string,
  after: number,
  tell: Tell,
): Promise<Settled | undefined> {
  const confirmIfKnocked = knockConfirms(env, id, tell);
  const began = monotonic();
  let trial: Trial | undefined;
  let pause = PAUSE;
  for (;;) {
    const left = (trial?.ends ?? began + after) - monotonic();
    try {
      const there = isUnderWay(env, id);
      if (there && !trial?.start) trial = readTrial(env);
      if (!there && readEnd(env, id)) return undefined;
      if (!there && trial) return await endOf(env, trial);
      if (!there && left <= 0) return undefined; // it never began
      const settled = there ? await step(trial, left <= 0) : undefined;
      if (settled) return settled;
      pause = PAUSE;
    } catch (error) {
      if (error instanceof UnreadableTrialError && left <= 0) throw error;
      tell(error);
      await delay(pause);
      pause = Math.min(2 * pause, LONGEST);
      continue;
    }
    await delay(left > 0 ? Math.min(trial ? LOOK : LOOK_FOR, left) : PAUSE);
  }

  async function step(trial: Trial | undefined, isOver: boolean): Promise<Settled | undefined> {
    const { pid, start } = trial?.by ?? { pid: 0, start: null };
    const watched = start !== null && startOf(pid) === start;
    const settled = !watched || isOver ? await confirmIfKnocked() : undefined; // what that cannot keep is undone as well
    return settled ?? (isOver ? await undoTrial(env, id) : undefined);
  }
}
