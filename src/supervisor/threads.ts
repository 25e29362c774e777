import { realpathSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { giveBackMemory, restoreFlags } from '../host/memory.ts';
import { SILENT, wayTo } from '../host/mounts.ts';
import { THREAD } from './thread.ts';
import { signature } from './watch.ts';

/** The file to load, or the bytes that were loaded from it before. */
export type LoadSource = { readonly path: string } | { readonly bytes: Uint8Array; readonly path: string };

/** What a thread begins with. */
export interface Given {
  readonly source: LoadSource;
  /** A load came before, so this is a save, for which somebody waits. */
  readonly isSave: boolean;
}

/** A thread says this before it asks a file system that may hang. */
export const MAY_HANG = 'may hang';
/** A thread says this when a file has been read. */
export const ANSWERED = 'answered';
/** A thread says this when it has read its source. */
export const READ = 'read';
/** Reading that takes this long hangs, in milliseconds. No other load begins meanwhile, unless {@link Threads.hurry} is called. */
const READING = 60_000;
/** For this long we wait for each answer of a file system that may hang if another load has to wait for it, in milliseconds. */
const HURRIED = 500;
/** A load that takes this long hangs, in milliseconds. */
const LONGEST = 5 * 60_000;

/**
 * The threads of loads. A thread first reads its source. A file system that hangs keeps the thread for as long as it hangs, which
 * nothing can end. So there is one such thread at most for each state of the file, and no load waits for it.
 */
export class Threads {
  readonly #answered: () => void;
  /** States of the file that a thread has not read yet. Another state may not need the file of secrets that hangs. */
  readonly #hanging = new Set<string>();
  #hurry = () => {};

  /** `answered` is called when a file has been read that could not be read in time. */
  constructor(answered: () => void) {
    this.#answered = answered;
  }

  /**
   * The outcome of a load, which is the thread's answer to `work`. Rejects if the thread ends without one, or if its file hangs.
   * What `transfer` holds moves to the thread.
   */
  async run(given: Given, work: object, transfer: readonly ArrayBufferLike[]): Promise<unknown> {
    const { source } = given;
    const file = 'bytes' in source ? undefined : stateOf(source.path);
    if (file !== undefined && this.#hanging.has(file)) throw new Error(SILENT);
    const thread = startThread(given);
    const isRead = await Promise.race([
      thread.read,
      this.#tooLong(thread),
      delay(READING, false, { ref: false }),
    ]);
    this.#hurry = () => {};
    if (isRead) return thread.finish(work, transfer);
    if (file !== undefined) this.#hanging.add(file);
    const over = () => {
      if (file !== undefined) this.#hanging.delete(file);
      thread.end();
      this.#answered();
    };
    thread.read.then(over, over);
    throw new Error(SILENT);
  }

  /** In a hurry, an answer that takes long counts as none. A file on this machine only takes its time, and so does checking. */
  #tooLong(thread: ReturnType<typeof startThread>): Promise<false> {
    return new Promise(resolve => {
      let isHurried = false;
      let isAsking = false;
      let timer: NodeJS.Timeout | undefined;
      const wait = () => {
        clearTimeout(timer);
        if (isHurried && isAsking) timer = setTimeout(resolve, HURRIED, false).unref();
      };
      thread.onWord(word => {
        isAsking = word === MAY_HANG;
        wait();
      });
      this.#hurry = () => {
        if (isHurried) return;
        isHurried = true;
        wait();
      };
    });
  }

  /** A file that does not answer soon counts as one that hangs, since another load cannot wait for it. */
  hurry(): void {
    this.#hurry();
  }
}

/** A file that may hang is not asked for its state. */
function stateOf(path: string): string {
  return `${path} ${wayTo(path).isAway ? '' : signature(path)}`;
}

function startThread(given: Given) {
  const program = realpathSync(process.argv[1] ?? '');
  const worker = new Worker(program, { argv: [THREAD], workerData: given });
  worker.once('exit', () => {
    restoreFlags();
    giveBackMemory();
  });
  const ended = new Promise<never>((_, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the thread of the load ended without an answer')));
  });
  ended.catch(() => {}); // it may end when all is said
  const said = (isMeant: (word: unknown) => boolean) =>
    new Promise<unknown>(resolve =>
      worker.on('message', word => {
        if (isMeant(word)) resolve(word);
      }),
    );
  const end = () => void worker.terminate();
  return {
    end,
    onWord: (hear: (word: unknown) => void) => void worker.on('message', hear),
    read: Promise.race([said(word => word === READ), ended]).then(() => true),
    finish: (work: object, transfer: readonly ArrayBufferLike[]) =>
      new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error('the load does not end'));
          end();
        }, LONGEST);
        Promise.race([said(word => typeof word === 'object'), ended])
          .then(resolve, reject)
          .finally(() => clearTimeout(timer));
        worker.postMessage(
          work,
          transfer.filter(it => it instanceof ArrayBuffer),
        );
      }),
  };
}
