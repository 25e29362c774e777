/** Programs that the tests start, to run to their end or for as long as a test needs them. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { environment as inherited } from '../../src/demo/namespaces.ts';

/**
 * With NODE_EXTRA_CA_CERTS, Node.js before 24 reads all certificates at each start, which takes longer than the rest of it.
 */
export const environment = { ...inherited, NODE_EXTRA_CA_CERTS: undefined };

/** Node.js as the units start it, without the warning about WebAssembly of 20 and 22. For 24 there is no such option. */
export const JITLESS =
  Number.parseInt(process.versions.node, 10) < 24 ? ['--jitless', '--no-expose-wasm'] : ['--jitless'];

/** For a test's `skip`: the programs that are not installed, or false. */
export function lacking(...programs: readonly string[]): string | false {
  const folders = environment.PATH.split(':');
  const absent = programs.filter(program => !folders.some(folder => existsSync(`${folder}/${program}`)));
  return absent.length > 0 && `not installed: ${absent.join(', ')}`;
}

/** How long anything may take before it counts as hung, in milliseconds: a busy machine is slow, and no test measures that. */
export const HUNG = 240_000;

export interface Result {
  /** As in a shell: 128 + n after signal n. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that keeps running. */
export interface Running {
  readonly pid: number;
  /**
   * The next line of stdout or stderr that matches, after the one that an earlier call returned. Rejects with all output if the
   * program ends first, or after `timeout` ({@link HUNG}).
   */
  line(pattern: RegExp, timeout?: number): Promise<string>;
  /** All lines so far, of stdout and stderr, in the order of their arrival. */
  lines(): readonly string[];
  signal(name: NodeJS.Signals): void;
  /** Sends SIGTERM, or `name`, and waits for the end. */
  stop(name?: NodeJS.Signals): Promise<Result>;
  readonly ended: Promise<Result>;
}

/** Starts a program in the background. */
export function start(command: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { env: { ...environment, ...env } });
  child.stdin.on('error', () => {}).end();
  const lines: string[] = [];
  const lookers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', line => {
      lines.push(line);
      for (const look of lookers) look();
    });
  const ended = finished(child);
  let read = 0;
  return {
    pid: child.pid ?? 0,
    lines: () => [...lines],
    line: (pattern, timeout = HUNG) =>
      new Promise((resolve, reject) => {
        const settle = (settled: () => void) => {
          clearTimeout(timer);
          lookers.delete(look);
          settled();
        };
        let next = read;
        const look = () => {
          while (next < lines.length) {
            const line = lines[next++] ?? '';
            if (!pattern.test(line)) continue;
            read = next;
            return settle(() => resolve(line));
          }
        };
        const fail = (why: string) =>
          settle(() => reject(new Error(`no line ${pattern} ${why}; it printed:\n${lines.join('\n')}`)));
        const timer = setTimeout(() => fail(`within ${timeout} ms`), timeout);
        lookers.add(look);
        look();
        ended.then(({ status }) => setImmediate(fail, `before it ended with status ${status}`), fail);
      }),
    signal: name => void child.kill(name),
    stop(name = 'SIGTERM') {
      child.kill(name);
      return ended;
    },
    ended,
  };
}

/** Runs a program to its end. After `timeout` milliseconds ({@link HUNG}) it is killed, which gives status 137. */
export function run(
  command: readonly string[],
  options: {
    readonly input?: string;
    readonly env?: NodeJS.ProcessEnv;
    readonly cwd?: string;
    readonly timeout?: number;
  } = {},
): Promise<Result> {
  const [program = '', ...args] = command;
  const { input = '', env, timeout = HUNG, ...where } = options;
  const child = spawn(program, args, {
    env: { ...environment, ...env },
    timeout,
    killSignal: 'SIGKILL',
    ...where,
  });
  child.stdin.on('error', () => {}).end(input); // it need not read
  return finished(child);
}

function finished(child: ChildProcessWithoutNullStreams): Promise<Result> {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) =>
      resolve({ status: status ?? 128 + (signal ? constants.signals[signal] : 0), stdout, stderr }),
    );
  });
}
