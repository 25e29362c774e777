import { setTimeout as delay } from 'node:timers/promises';
import { written } from '../terminal/harmless.ts';
import { isTerminal, painter } from '../terminal/paint.ts';

/** One thing that the demo claims, and what it saw. */
interface Step {
  readonly step: string;
  readonly claim: string;
  readonly seen: string;
  readonly ok: boolean;
}

/** Tells the story: on a terminal, into a pipe, or to a program. */
export interface Teller {
  readonly title: (text: string) => void;
  readonly chapter: (text: string) => void;
  readonly say: (...lines: readonly string[]) => void;
  /** A command that was run, and its output, if it has any. */
  readonly ran: (command: string, output?: string) => void;
  readonly step: (step: Step) => void;
  /** Waits, and shows that it waits. */
  readonly wait: (milliseconds: number, what: string) => Promise<void>;
}

/** Prints a line, or several. */
type Print = (lines: string | readonly string[]) => void;

/** Prints one JSON object for each step, and nothing else. */
export function jsonTeller(print: Print): Teller {
  const silent = () => {};
  return {
    title: silent,
    chapter: silent,
    say: silent,
    ran: silent,
    step: step => print(JSON.stringify(step)),
    wait: async milliseconds => void (await delay(milliseconds)),
  };
}

/** For people: with colours and a countdown on a terminal, otherwise plain text. */
export function textTeller(print: Print, env: NodeJS.ProcessEnv): Teller {
  const terminal = isTerminal(env);
  const paint = painter(env);
  let chapters = 0;
  return {
    title: text => print(['', paint('bold', text), '']),
    chapter: text => print(['', paint(['bold', 'cyan'], `${++chapters}. ${text}`), '']),
    say: (...lines) => print(lines.map(line => `   ${line}`)),
    ran(command, output) {
      print(`   ${paint('yellow', `server# ${command}`)}`);
      for (const line of output?.trimEnd().split('\n') ?? [])
        print(line === '' ? '' : `   ${paint('gray', line)}`);
    },
    step({ claim, seen, ok }) {
      const mark = ok ? paint('green', '✓') : paint('red', '✗');
      print(` ${mark} ${claim}${seen === '' ? '' : `: ${paint(ok ? 'green' : 'red', seen)}`}`);
    },
    async wait(milliseconds, what) {
      if (!terminal) {
        print(`   (${what}: ${Math.ceil(milliseconds / 1000)} s)`);
        await delay(milliseconds);
        return;
      }
      const end = performance.now() + milliseconds;
      for (let left = milliseconds; left > 0; left = end - performance.now()) {
        process.stdout.write(`\r   ${written(paint('gray', `${what}: ${Math.ceil(left / 1000)} s`))}\x1b[K`);
        await delay(Math.min(left, 250));
      }
      process.stdout.write('\r\x1b[K');
    },
  };
}
