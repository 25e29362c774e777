/**
 * `node large-load.js HOW`: a large load of a file that is not there, by a thread that ends as HOW says. Tells whether V8 takes code
 * that it compiled before: in the thread, and when that has ended. V8 takes none that it compiled with other flags.
 */
import { writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { Script } from 'node:vm';
import { isMainThread } from 'node:worker_threads';
import { favourSpeed } from '../../src/host/memory.ts';
import { pack } from '../../src/supervisor/clients.ts';
import { runJob, serveJob } from '../../src/supervisor/job.ts';
import { Threads } from '../../src/supervisor/threads.ts';

let other = 100_000_000; // V8 compares the length of the text, and does not read kept code for a text that it knows
const cachedData = new Script(`(() => ${other})()`).createCachedData();
const isTaken = () => new Script(`(() => ${++other})()`, { cachedData }).cachedDataRejected === false;
const tell = (text: string) => writeSync(1, `${text}\n`); // a thread's console.log comes later

const [, program = '', how] = process.argv;

async function load(): Promise<void> {
  const job = {
    source: { path: '/nowhere' },
    known: { table: undefined, packed: pack([]), seen: 0, recent: [] },
    prefix: undefined,
    keepAt: undefined,
    watched: false,
    former: { config: new Uint8Array(), build: undefined, generation: 1 },
    begun: 0,
    seen: '',
  };
  const outcome = await runJob(job, new Threads(() => {}));
  while (!isTaken()) await setTimeout(1); // the thread may not have ended yet
  tell(`${outcome.is}, taken`);
}

async function thread(): Promise<void> {
  if (process.env.HOW === 'answers') await serveJob();
  else favourSpeed();
  tell(isTaken() ? 'taken' : 'refused');
  if (process.env.HOW === 'throws') throw new Error(program);
  if (process.env.HOW === 'exits') process.exit(0);
}

if (isMainThread) process.env.HOW = how;
await (isMainThread ? load() : thread());
