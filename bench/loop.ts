/** For `node --import`: tells on stderr, when the process ends, for how long its event loop was held at most, in milliseconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const RESOLUTION = 1;

if (isMainThread) {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  // starting is not what is asked for
  setTimeout(() => histogram.enable(), 2000).unref();
  process.once('exit', () => {
    const held = Math.max(0, histogram.max / 1e6 - RESOLUTION);
    process.stderr.write(`held ${held.toFixed(1)}\n`);
  });
}
