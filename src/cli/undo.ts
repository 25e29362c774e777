import { setTimeout as delay } from 'node:timers/promises';
import { isUnderWay } from '../trial/notes.ts';
import { undoTrial } from '../trial/settle.ts';
import { type Context, EXIT } from './context.ts';
import { failureOf } from './failure.ts';
import { knockConfirms, tellEnd } from './try.ts';

/** In milliseconds; more often until the trial is there, since it may end soon. */
const LOOK = 500;
const LOOK_FOR = 50;
/** How long after another to go back when the kernel does not let us: longer each time. */
const PAUSE = 1000;
const LONGEST = 30_000;

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
 * for so many milliseconds, or until the trial has ended otherwise. It does not give up.
 */
export async function undoLater(context: Context, id: string, after: number): Promise<number> {
  await itsTime(context, id, after);
  const confirmIfKnocked = knockConfirms(context, id); // what that cannot keep is undone as well
  for (let pause = PAUSE; ; pause = Math.min(2 * pause, LONGEST)) {
    try {
      const settled = (await confirmIfKnocked()) ?? (await undoTrial(context.env, id));
      if (settled) tellEnd(context, settled);
      if (!isUnderWay(context.env, id)) return EXIT.DONE;
    } catch (error) {
      context.tell(failureOf(error).lines);
    }
    await delay(pause);
  }
}

/** Not by the clock, which may be set meanwhile. The trial begins only when we stand ready. */
async function itsTime({ env }: Context, id: string, after: number): Promise<void> {
  const end = performance.now() + after;
  for (let seen = false; performance.now() < end; ) {
    const there = isUnderWay(env, id);
    if (seen && !there) return;
    seen ||= there;
    await delay(Math.min(seen ? LOOK : LOOK_FOR, Math.max(end - performance.now(), 0)));
  }
}
