import { holdText, readHold } from '../host/hold.ts';
import { painter } from '../terminal/paint.ts';
import { openScreen } from '../terminal/screen.ts';
import { type Look, PAUSE } from './looks.ts';
import { aged, goOn, type Story } from './story.ts';
import { view } from './view.ts';

/** How often to redraw, so that clocks go on. In milliseconds. */
const SECOND = 1000;

/** Shows the looks on the whole terminal, until the user presses q or Ctrl-C. */
export async function watchLive(
  look: (signal: AbortSignal) => AsyncIterable<Look>,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const paint = painter(env);
  const ended = new AbortController();
  const end = process.stdin.isTTY ? 'q ends' : 'Ctrl-C ends';
  let story: Story | undefined;
  let looked = 0;
  let drawAgain = 0;
  const draw = () => {
    if (!story) return;
    const start = performance.now();
    const hold = readHold(env);
    const hint = hold ? `held: ${holdText(hold)}; ${end}` : end;
    const now = aged(story.status, (performance.now() - looked) / 1000);
    screen.draw(view({ ...story, status: now }, new Date(), screen.size(), hint, paint));
    const done = performance.now();
    drawAgain = done + Math.max(SECOND / 2, PAUSE * (done - start));
  };
  const screen = openScreen({
    key: key => {
      if (key === 'q') ended.abort();
    },
    redraw: draw,
    end: () => ended.abort(),
  });
  const clock = setInterval(() => {
    if (performance.now() > drawAgain) draw();
  }, SECOND);
  try {
    for await (const { status, seconds, told } of look(ended.signal)) {
      if (ended.signal.aborted) break;
      story = goOn(story, status, seconds, new Date(), told);
      looked = performance.now();
      draw();
    }
  } finally {
    clearInterval(clock);
    screen.close();
  }
}
