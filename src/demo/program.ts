/** The program itself, as the demo runs it on its server: single commands, and the supervisor. */
import { type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { PART } from './stage.ts';

/** How a command ended. */
export interface Ended {
  readonly pid: number;
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program, and the one configuration that all its processes read. */
export interface Program {
  /** Runs a command to its end. */
  readonly run: (...words: readonly string[]) => Promise<Ended>;
  /** The same, with its state in that folder. */
  readonly runWithState: (folder: string, ...words: readonly string[]) => Promise<Ended>;
  /** Replaces the text of the configuration. */
  readonly save: (text: string) => void;
  /** Runs the supervisor for as long as `use` takes. */
  readonly supervise: (use: (supervisor: Supervisor) => Promise<void>) => Promise<void>;
}

export interface Supervisor {
  readonly pid: number;
  /** All lines that it has written to the journal so far. */
  readonly lines: readonly string[];
  /** The next line that matches, after the one that an earlier call returned; undefined if none comes in time. */
  readonly tells: (pattern: RegExp) => Promise<string | undefined>;
  /** Sends SIGKILL, and waits for its end. */
  readonly kill: () => Promise<void>;
}

/** How long to wait for a line of the journal, in milliseconds. */
const PATIENCE = 30_000;

/** The path at which the program finds the configuration. */
const CONFIG = '/proc/self/fd/3';

/**
 * Copies the configuration to a file of our own, without rights for others (the one in a clone may be group-writable), and
 * gives `use` the program that reads it. The file has no name while it is in use, so nothing stays behind, however this
 * process ends. The supervisor still watches it, by looking.
 */
export async function withProgram<T>(text: string, use: (program: Program) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-demo-'));
  const descriptor = openSync(join(folder, 'knockd-nft.json'), 'wx+', 0o600);
  rmSync(folder, { recursive: true });
  const save = (text: string): void => {
    ftruncateSync(descriptor, writeSync(descriptor, text, 0));
  };
  try {
    save(text);
    return await use({
      run: (...words) => runProgram(descriptor, words),
      runWithState: (folder, ...words) => runProgram(descriptor, words, { STATE_DIRECTORY: folder }),
      save,
      supervise: use => supervise(descriptor, use),
    });
  } finally {
    closeSync(descriptor);
  }
}

function options(config: number, more: NodeJS.ProcessEnv = {}): SpawnOptions {
  const { [PART]: _, NOTIFY_SOCKET: __, STATE_DIRECTORY: ___, ...env } = process.env;
  const own = {
    // no folder, so that it neither sees nor touches a hold or a supervisor of the host
    RUNTIME_DIRECTORY: '/dev/null',
    KNOCKD_NFT_LOG_LEVEL: 'info',
    KNOCKD_NFT_LOG_FORMAT: 'text',
  };
  return { env: { ...env, ...own, ...more }, stdio: ['ignore', 'pipe', 'pipe', config] };
}

function words(command: readonly string[]): string[] {
  return [process.argv[1] ?? '', '--config', CONFIG, ...command];
}

async function runProgram(
  config: number,
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const child = spawn(process.execPath, words(command), options(config, env));
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [status] = await once(child, 'close');
  return { pid: child.pid ?? 0, status, stdout, stderr };
}

async function supervise(config: number, use: (supervisor: Supervisor) => Promise<void>): Promise<void> {
  // setpriv becomes the supervisor, and makes the kernel end it with us, however we end
  const args = ['--pdeathsig', 'KILL', process.execPath, ...words(['run'])];
  const child = spawn('setpriv', args, options(config));
  const closed = once(child, 'close');
  const lines: string[] = [];
  const journal = journalOf(child.stderr);
  const next = async (pattern: RegExp): Promise<string | undefined> => {
    for (;;) {
      const { value, done } = await journal.next();
      if (done) return undefined;
      lines.push(value);
      if (pattern.test(value)) return value;
    }
  };
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await closed;
  };
  try {
    await use({
      pid: child.pid ?? 0,
      lines,
      tells: pattern => Promise.race([next(pattern), delay(PATIENCE, undefined, { ref: false })]),
      kill,
    });
  } finally {
    await kill();
  }
}

function journalOf(stream: NodeJS.ReadableStream | null): AsyncIterator<string, undefined> {
  if (!stream) throw new Error('the supervisor has no standard error');
  return createInterface({ input: stream })[Symbol.asyncIterator]();
}
