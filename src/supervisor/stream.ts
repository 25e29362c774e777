import { chmodSync, chownSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Snapshot, Told } from '../events/event.ts';
import { eventsPath, makeRuntimeFolder } from '../host/hold.ts';
import { findGroup, SERVICE_USER } from '../host/service-user.ts';
import { harmless } from '../terminal/harmless.ts';
import { pauseAfter } from './pauses.ts';
import type { Trouble } from './status-line.ts';

/** The most readers at the same time. Any more are turned away. */
const MOST_READERS = 16;
/** The most bytes that may wait for a reader, beside those in the kernel. With more, the reader is dropped. */
const MOST_WAITING = 1024 * 1024;

const OURS = 0o660;
const PRIVATE = 0o077;

/**
 * The socket that other programs read events from. Each reader gets a line that describes the state, and then each
 * event as it comes. We wait for no reader. One that does not read is dropped, and so is one that writes.
 */
export class Stream {
  readonly #env: NodeJS.ProcessEnv;
  readonly #path: string;
  readonly #snapshot: () => Snapshot;
  readonly #warn: (message: string) => void;
  readonly #readers = new Set<Socket>();
  #server: Server | undefined;
  /** The socket's file, to distinguish ours from another one of its name. */
  #inode: number | undefined;
  #opening = false;
  #failure: (Trouble & { readonly times: number; readonly again: number }) | undefined;

  constructor(env: NodeJS.ProcessEnv, snapshot: () => Snapshot, warn: (message: string) => void) {
    this.#env = env;
    this.#path = eventsPath(env);
    this.#snapshot = snapshot;
    this.#warn = warn;
  }

  /** Why other programs cannot read now. */
  get trouble(): Trouble | undefined {
    return this.#failure;
  }

  tell(told: Told): void {
    if (this.#readers.size === 0) return;
    const line = lineOf(told);
    for (const reader of this.#readers) this.#send(reader, line);
  }

  #send(reader: Socket, line: string): void {
    if (reader.writableLength + line.length <= MOST_WAITING) {
      reader.write(line);
      return;
    }
    this.#readers.delete(reader);
    reader.destroy();
    this.#warn('a reader of events did not read, and was dropped');
  }

  /** To be called once a second, with the time as `monotonic` counts. Opens the socket, also if its file was removed. */
  look(now: number): void {
    if (this.#opening || (this.#failure && this.#failure.again > now)) return;
    if (this.#server && this.#inode === inodeOf(this.#path)) return;
    this.#opening = true;
    void this.#open()
      .then(
        () => {
          this.#failure = undefined;
        },
        error => this.#failed(error instanceof Error ? error.message : String(error), now),
      )
      .finally(() => {
        this.#opening = false;
      });
  }

  #failed(message: string, now: number): void {
    const what = `events cannot be read by other programs: ${message}`;
    if (this.#failure?.what !== what) this.#warn(`${what}; trying again`);
    const times = (this.#failure?.times ?? 0) + 1;
    this.#failure = { what, since: this.#failure?.since ?? now, times, again: now + pauseAfter(times) };
  }

  async #open(): Promise<void> {
    this.#server?.close();
    this.#server = undefined;
    makeRuntimeFolder(this.#env);
    if (await isServed(this.#path)) throw new Error(`another program serves ${this.#path}`);
    rmSync(this.#path, { force: true }); // of a dead supervisor
    const server = createServer(reader => this.#welcome(reader));
    server.maxConnections = MOST_READERS;
    // only we may connect until group and mode are right
    const umask = process.umask(PRIVATE);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(this.#path, resolve);
        process.umask(umask); // the file is made by now
      });
      const group = findGroup(SERVICE_USER);
      if (process.geteuid?.() === 0 && group !== undefined) chownSync(this.#path, 0, group);
      chmodSync(this.#path, OURS);
    } catch (error) {
      server.close();
      throw error;
    } finally {
      process.umask(umask);
    }
    server.on('error', error => this.#warn(`a reader of events could not be let in: ${error.message}`));
    this.#server = server;
    this.#inode = inodeOf(this.#path);
  }

  #welcome(reader: Socket): void {
    const end = () => {
      this.#readers.delete(reader);
      reader.destroy();
    };
    reader.on('error', end).on('close', end).on('data', end);
    reader.write(lineOf(this.#snapshot()));
    this.#readers.add(reader);
  }

  /** Events reported until now still reach the readers. */
  close(): void {
    this.#server?.close();
    this.#server = undefined;
    for (const reader of this.#readers) reader.end().unref();
  }
}

function lineOf(value: Told | Snapshot): string {
  return `${harmless(JSON.stringify(value))}\n`;
}

/** Of a socket: what takes the place of one that was removed may have its number. */
function inodeOf(path: string): number | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat?.isSocket() ? stat.ino : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a program answers there. Throws if we cannot find out. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(false);
      else reject(error);
    });
  });
}
