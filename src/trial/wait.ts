import { setTimeout as delay } from 'node:timers/promises';
import { withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { startOf } from '../host/proc.ts';
import { readEnd } from './end.ts';
import { isUnderWay, readTrial, type Trial, UnreadableTrialError } from './notes.ts';
import { confirmTrial, endOf, type Settled, undoTrial } from './settle.ts';
import { Witness } from './witness.ts';

/** How often to look for the end of a trial, in milliseconds. An opening lasts a second or longer. */
export const LOOK = 500;
/** The same before the trial is there. It may end soon, and its notes may be removed. */
const LOOK_FOR = 50;
/** The shortest and the longest pause after a failure, in milliseconds. It doubles each time. */
const PAUSE = 100;
const LONGEST = 30_000;

type Tell = (error: unknown) => void;

/**
 * Looks for a knock that proves the trial, and confirms it. If the look or the confirmation fails, `tell` hears why, and the
 * trial goes on.
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
 * Runs in the process that outlives `try`. It undoes a trial when its time is over, or `after` milliseconds from now if
 * its notes do not say. If `try` no longer runs, a knock confirms here. Returns how the trial ended, unless another
 * process ended it. A failure makes it pause and try again. Only {@link UnreadableTrialError} ends it, when the time is
 * over.
 *
 * It remembers the notes once it has read them, so removing them confirms nothing.
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
    const settled = !watched || isOver ? await confirmIfKnocked() : undefined; // if that fails, the trial is undone
    return settled ?? (isOver ? await undoTrial(env, id) : undefined);
  }
}
