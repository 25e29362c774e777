import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { isGroupRunning } from '../host/proc.ts';
import type { Told } from './event.ts';

interface HookOptions {
  /** How long one run may take, with all that it started, in milliseconds. */
  readonly timeout: number;
  /** How many run at the same time. */
  readonly atOnce: number;
  readonly warn: (message: string) => void;
}

/** The most events that wait for their turn. Later ones are lost. */
const MOST_WAITING = 1000;
/** From SIGTERM to SIGKILL, in milliseconds. */
const GRACE = 5000;
/** How often to look whether all processes of a run are gone, in milliseconds. */
const LOOK = 100;

/** Runs a command for each event, with a limit on their number and on their time. */
export class Hook {
  readonly #command: readonly [string, ...string[]];
  readonly #options: HookOptions;
  readonly #waiting: { readonly told: Told; readonly line: string }[] = [];
  /** The runs, each with the controller that ends it. */
  readonly #running = new Map<Promise<void>, AbortController>();
  #isClosing = false;
  #lost = 0;

  constructor(command: readonly [string, ...string[]], options: HookOptions) {
    this.#command = command;
    this.#options = options;
  }

  /** `line` goes to its standard input. */
  add(told: Told, line: string): void {
    if (this.#waiting.length < MOST_WAITING) this.#waiting.push({ told, line });
    else if (++this.#lost === 1)
      this.#options.warn(`events come faster than "${this.#command[0]}" ends: some are lost`);
    this.#next();
  }

  #next(): void {
    while (this.#running.size < this.#options.atOnce) {
      const next = this.#waiting.shift();
      if (!next) return;
      const over = new AbortController();
      const run: Promise<void> = this.#run(next.told, next.line, over).finally(() => {
        this.#running.delete(run);
        this.#tellLost();
        this.#next();
      });
      this.#running.set(run, over);
    }
  }

  #tellLost(): void {
    if (this.#lost === 0 || this.#waiting.length > 0) return;
    this.#options.warn(`lost ${this.#lost} events: no command ran for them`);
    this.#lost = 0;
  }

  async #run(told: Told, line: string, over: AbortController): Promise<void> {
    const [program, ...words] = this.#command;
    const failed = (how: string) => this.#options.warn(`"${program}" ${how}, for: ${told.msg}`);
    // a process group of its own, so that it ends with all that it started
    const child = spawn(program, words, {
      env: { ...process.env, ...variables(told) },
      stdio: ['pipe', 'inherit', 'inherit'],
      detached: true,
    });
    child.stdin?.on('error', () => {}).end(`${line}\n`); // it may not want to read
    const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    const timer = setTimeout(() => over.abort(), this.#options.timeout);
    try {
      await Promise.race([exited, once(over.signal, 'abort')]);
      if (child.pid !== undefined && !(await isGone(child.pid, over.signal))) {
        if (!this.#isClosing) failed(`took longer than ${this.#options.timeout / 1000} s, and is ended`);
        await end(child.pid);
        return;
      }
      const [status, signal] = await exited;
      if (signal !== null) failed(`was ended by ${signal}`);
      else if (status !== 0) failed(`ended with exit status ${status}`);
    } catch (error) {
      failed(`could not be started (${error instanceof Error ? error.message : error})`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends all runs, and forgets the events that wait. */
  async close(): Promise<void> {
    this.#lost += this.#waiting.splice(0).length;
    this.#isClosing = true;
    for (const over of this.#running.values()) over.abort();
    await Promise.all(this.#running.keys());
    this.#tellLost();
  }
}

/** `KNOCKD_NFT_OPEN_FOR` and the like. One without a value is empty, so that it replaces an inherited variable. */
function variables(told: Told): Record<string, string> {
  const { msg, ...fields } = told;
  const all = { user: null, client: null, service: null, ...fields, message: msg };
  return Object.fromEntries(
    Object.entries(all).map(([name, value]) => [
      `KNOCKD_NFT_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`,
      String(value ?? '').replaceAll('\0', ''),
    ]),
  );
}

/** Waits until no process of the group is left, or for the signal. Returns whether the group is gone. */
async function isGone(group: number, signal: AbortSignal): Promise<boolean> {
  while (isThere(group)) {
    if (signal.aborted) return false;
    await delay(LOOK, undefined, { signal }).catch(() => {}); // over
  }
  return true;
}

async function end(group: number): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    send(group, signal);
    if (await isGone(group, AbortSignal.timeout(GRACE))) return;
  }
}

/** For an empty group the kernel says so at once. */
function isThere(group: number): boolean {
  return send(group, 0) && isGroupRunning(group);
}

/** False if the group is empty. */
function send(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'; // some may have become another user
  }
}
