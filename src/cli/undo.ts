import { setTimeout as delay } from 'node:timers/promises';
import { confirmIfKnocked, undoTrial } from '../loader/settle.ts';
import { isUnderWay } from '../loader/trial.ts';
import { type Context, EXIT } from './context.ts';
import { tellEnd } from './try.ts';

/** In milliseconds. */
const LOOK = 500;
/** How often, and how long after another, to go back when the kernel does not let us. */
const ATTEMPTS = 60;
const PAUSE = 1000;

/** `undo`: goes back at once from what is being tried. */
export async function undoCommand(context: Context): Promise<number> {
  const settled = await undoTrial(context.env);
  if (!settled) {
    context.tell('knockd-nft: nothing is being tried, or it was confirmed: there is nothing to undo');
    return EXIT.FAILED;
  }
  tellEnd(context, settled);
  return EXIT.DONE;
}

/**
 * What `try` starts, for when its time is over: goes back unless a client knocked and came in. With `after` it waits here
 * for so many milliseconds, or until the trial has ended otherwise.
 */
export async function undoLater(context: Context, id: string, after: number): Promise<number> {
  for (const end = Date.now() + after; Date.now() < end && isUnderWay(context.env, id); )
    await delay(Math.min(LOOK, Math.max(end - Date.now(), 0)));
  for (let left = ATTEMPTS; ; left--) {
    try {
      const settled = (await confirmIfKnocked(context.env, id)) ?? (await undoTrial(context.env, id));
      if (settled) tellEnd(context, settled);
      return EXIT.DONE;
    } catch (error) {
      if (left <= 1) throw error;
      await delay(PAUSE);
    }
  }
}
