import { configPath } from '../config/read.ts';
import { withKernel } from '../host/access.ts';
import { eventsPath } from '../host/hold.ts';
import type { Span } from '../inet/duration.ts';
import { isTerminal } from '../terminal/paint.ts';
import { Hearing } from '../watch/hearing.ts';
import { jsonTeller, textTeller, watchLines } from '../watch/lines.ts';
import { watchLive } from '../watch/live.ts';
import { looks } from '../watch/looks.ts';
import { wantedReader } from '../watch/wanted.ts';
import { type Context, EXIT } from './context.ts';
import { readTime } from './words.ts';

/** The limits of the interval between two looks. */
const INTERVALS: Span = {
  shortest: 100,
  longest: 60 * 60_000,
  expected: 'seconds as a number, or a duration such as "500ms" or "2s", from 100 ms to 1 h',
};

/** `watch`: the clients that are in or knocking, and the counts, live on a terminal, and as lines elsewhere. */
export async function watchCommand(context: Context, interval: string): Promise<number> {
  const { config, env, json, print, tell } = context;
  const pause = readTime('--interval', interval, INTERVALS);
  const live = !json && isTerminal(env);
  const path = configPath(config, env);
  const done = new AbortController();
  const hearing = new Hearing(eventsPath(env), done.signal);
  await withKernel(async ({ connection }) => {
    if (live) {
      // the view says that the file cannot be used; the reasons would write across it
      const wanted = wantedReader(path, env, () => {});
      await watchLive(signal => looks(connection, wanted, pause, hearing, signal), env);
    } else {
      const wanted = wantedReader(path, env, tell);
      await watchLines(looks(connection, wanted, pause, hearing), json ? jsonTeller : textTeller, print);
    }
  }).finally(() => done.abort());
  return EXIT.DONE;
}
