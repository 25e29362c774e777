import { type FSWatcher, lstatSync, type Stats, statSync, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonic } from '../host/clock.ts';
import { wayTo } from '../host/mounts.ts';

/** How often to look if the kernel may not report changes, in milliseconds. */
const POLL = 200;
/** How long a pause ends a burst of writes, in milliseconds. */
const SETTLE = 30;
/** How long a file may take to answer before that counts as silence, in milliseconds. */
const PATIENCE = 2000;
/** How long a repair waits for that, in milliseconds: the ports are open meanwhile. */
const URGENT = 1000;

/** Distinguishes states of the file at the end of the path; empty if we may not look at it. */
export function signature(path: string): string {
  try {
    return signatureOf(statSync(path));
  } catch {
    return '';
  }
}

function signatureOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
}

/**
 * Asks the files that are away, one after the other: one that hangs keeps one thread of libuv, and not all of them. The event loop
 * goes on meanwhile.
 */
class Questions {
  readonly #waiting: { readonly path: string; readonly tell: (found: string) => void }[] = [];
  /** The question without an answer so far. */
  #open: { readonly path: string; readonly since: number } | undefined;

  /** As for {@link signature}. A question that somebody waits for does not wait for all the others. */
  ask(path: string, isAwaited: boolean): Promise<string> {
    return new Promise(tell => {
      if (isAwaited) this.#waiting.unshift({ path, tell });
      else this.#waiting.push({ path, tell });
      if (!this.#open) void this.#askAll();
    });
  }

  async #askAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      this.#open = { path: next.path, since: monotonic() };
      next.tell(await stat(next.path).then(signatureOf, () => ''));
    }
    this.#open = undefined;
  }

  /** The file that has not answered for too long, and since when. */
  silent(now: number): { readonly path: string; readonly since: number } | undefined {
    return this.#open && now - this.#open.since >= PATIENCE ? this.#open : undefined;
  }
}

interface Watch {
  readonly path: string;
  /** Looks for changes that inotify does not report, such as a mount. To be called now and then. It waits for nothing. */
  readonly look: () => void;
  /** Whether there are other contents than were reported. Of a file that is away, as of its last answer. */
  readonly isNew: () => boolean;
  readonly isAway: () => boolean;
  /** Asks a file that is away, before others if somebody waits for it. It may never answer. */
  readonly ask: (isAwaited: boolean) => Promise<void>;
  readonly close: () => void;
}

/**
 * Calls `changed` soon after the path leads to other contents: saved in place, replaced, removed and written again, or by
 * a symbolic link on the way.
 *
 * inotify on every folder on the way, and on the file, sees all of these at once. It may not on a network file system or in
 * a folder that we may not read. There we check the path five times a second.
 *
 * `known` is the signature of the contents that were read; by default those of now.
 */
function watchPath(path: string, questions: Questions, changed: () => void, known?: string): Watch {
  let settling: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let watchers: readonly FSWatcher[] = [];
  let way = '';
  let isAway = false;
  let isAsking = false;
  let isClosed = false;
  /** Of a file that is away. */
  let answered: string | undefined;

  const soon = (): void => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      follow();
      if (!isNew()) return;
      seen = current();
      changed();
    }, SETTLE);
  };
  const current = (): string | undefined => (isAway ? answered : signature(path));
  const isNew = (): boolean => (isAway && answered === undefined ? false : current() !== seen);
  const look = (): void => {
    if (!isAway) {
      if (isNew()) soon();
    } else if (!isAsking) {
      isAsking = true;
      void ask(false).then(() => {
        isAsking = false;
      });
    }
  };
  const ask = async (isAwaited: boolean): Promise<void> => {
    answered = await questions.ask(path, isAwaited);
    if (isClosed) return;
    seen ??= answered;
    if (isNew()) soon();
  };
  /** Watches the way to the file as it is now. */
  const follow = (): void => {
    const { entries, isAway: isNowAway } = wayTo(path);
    const here = [...entries].slice(0, isNowAway ? -1 : undefined);
    const now = `${isNowAway} ${here.map(entry => `${entry} ${identity(entry)}`).join('\n')}`;
    if (now === way) return;
    way = now;
    isAway = isNowAway;
    end();
    const folders = [...new Set([...entries].map(dirname))].map(folder =>
      startWatching(folder, pollInstead, (name, isOther) => {
        if (name !== null && !entries.has(join(folder, name))) return;
        // before anybody looks: the path may lead to a file system that hangs now; not for each of a burst of writes, as it takes long
        if (isOther) follow();
        soon();
      }),
    );
    const file = isAway ? undefined : startWatching(path, pollInstead, soon); // where there is none, its folder tells when it comes
    watchers = [...folders, file].filter(watcher => watcher !== undefined);
    if (isAway || folders.includes(undefined)) pollInstead();
  };
  const pollInstead = (): void => {
    poll ??= setInterval(look, POLL);
  };
  const end = (): void => {
    clearInterval(poll);
    poll = undefined;
    for (const watcher of watchers) watcher.close();
  };
  follow();
  let seen = known ?? (isAway ? undefined : signature(path));
  look();
  return {
    path,
    look,
    isNew,
    isAway: () => isAway,
    ask,
    close: () => {
      isClosed = true;
      clearTimeout(settling);
      end();
    },
  };
}

/**
 * Undefined if the path is not there or we may not read it, or if no inotify is left. `isOther`: the entry came, went, or is another
 * one now; else it was only written.
 */
function startWatching(
  path: string,
  lost: () => void,
  seen: (entry: string | null, isOther: boolean) => void,
): FSWatcher | undefined {
  try {
    const watcher = watch(path, (what, name) => seen(name, what === 'rename'));
    watcher.on('error', () => {
      watcher.close();
      lost();
    });
    return watcher;
  } catch {
    return undefined;
  }
}

/**
 * Tells an entry from another one that takes its place, which may get its inode, too. Of a link itself, since it may lead to a file
 * system that hangs.
 */
function identity(path: string): string {
  try {
    const { dev, ino, birthtimeMs } = lstatSync(path);
    return `${dev} ${ino} ${birthtimeMs}`;
  } catch {
    return '';
  }
}

/** The watches of several files, which may be other ones at any time. */
export class Watches {
  readonly #changed: () => void;
  readonly #questions = new Questions();
  #watches: readonly Watch[] = [];

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /**
   * Watches these files, and no others any more. A change of one that was watched before is still reported, and so is one of
   * another since it had the {@link signature} in `known`.
   */
  follow(paths: readonly string[], known: ReadonlyMap<string, string> = new Map()): void {
    for (const watch of this.#watches) if (!paths.includes(watch.path)) watch.close();
    this.#watches = [...new Set(paths)].map(
      path =>
        this.#watches.find(watch => watch.path === path) ??
        watchPath(path, this.#questions, this.#changed, known.get(path)),
    );
  }

  /** As for {@link Watch}. */
  look(): void {
    for (const watch of this.#watches) watch.look();
  }

  /** Whether one has other contents than were reported. */
  get isNew(): boolean {
    return this.#watches.some(watch => watch.isNew());
  }

  /** Whether one is on a file system that may hang, so that only a thread should read it. */
  get isAway(): boolean {
    return this.#watches.some(watch => watch.isAway());
  }

  /** Asks those of these files that are away whether they are new; all by default. False if one does not answer. */
  async answer(paths?: readonly string[]): Promise<boolean> {
    const away = this.#watches.filter(watch => watch.isAway() && (paths?.includes(watch.path) ?? true));
    if (away.length === 0) return true;
    if (this.silent(monotonic())) return false;
    const all = Promise.all(away.map(watch => watch.ask(true))).then(() => true);
    return Promise.race([all, delay(paths ? PATIENCE : URGENT, false, { ref: false })]);
  }

  /** As for {@link Questions.silent}. */
  silent(now: number): { readonly path: string; readonly since: number } | undefined {
    const silent = this.#questions.silent(now);
    return silent && this.#watches.some(({ path }) => path === silent.path) ? silent : undefined;
  }
}
