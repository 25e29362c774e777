import { endHold } from '../host/hold.ts';
import { dropUnreadable, UnreadableTrialError } from '../trial/notes.ts';
import { undoTrial } from '../trial/settle.ts';
import { settleInTime } from '../trial/wait.ts';
import { type Context, EXIT } from './context.ts';
import { tellingOnce } from './failure.ts';
import { loadCommand } from './load.ts';
import { tellEnd } from './try.ts';

/** `undo`: undoes the trial at once. */
export async function undoCommand(context: Context): Promise<number> {
  return withoutNotes(context, async () => {
    const settled = await undoTrial(context.env);
    if (settled) tellEnd(context, settled);
    else context.tell('knockd-nft: no trial is under way: there is nothing to undo');
    return settled ? EXIT.DONE : EXIT.FAILED;
  });
}

/**
 * Started by `try`. Undoes the trial when its time is over, `after` milliseconds from now, unless it is confirmed. It
 * does not give up. If it ends with another status than 0, it is started again.
 */
export async function undoLater(context: Context, id: string, after: number): Promise<number> {
  context.print(`looks after trial ${id}`); // `try` waits for this line
  return withoutNotes(context, async () => {
    const settled = await settleInTime(context.env, id, after, tellingOnce(context));
    if (settled) tellEnd(context, settled);
    return EXIT.DONE;
  });
}

/** If the notes of a trial cannot be read, goes back to the configuration, since nothing else is known. */
async function withoutNotes(context: Context, act: () => Promise<number>): Promise<number> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof UnreadableTrialError)) throw error;
    context.tell('knockd-nft: another version began the trial: the configuration is loaded instead');
    endHold(context.env);
    const status = await loadCommand(context, { lastGood: true, force: false });
    dropUnreadable(context.env);
    return status;
  }
}
