import { type FSWatcher, readlinkSync, statfsSync, statSync, watch } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** How often to look if the kernel may not tell of changes, in milliseconds. */
const POLL = 200;
/** How long a pause ends a burst of writes, in milliseconds. */
const SETTLE = 30;
/** The most symbolic links that the kernel follows (MAXSYMLINKS, include/linux/namei.h). */
const MOST_LINKS = 40;

/** File systems whose changes all pass through this kernel, which tells of them by inotify (include/uapi/linux/magic.h). */
const LOCAL: ReadonlySet<number> = new Set([
  0xef53, // ext2 to ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0xf2f52010, // f2fs
  0xca451a4e, // bcachefs
  0x2fc12fc1, // zfs
  0x01021994, // tmpfs
  0x794c7630, // overlay
]);

/** Tells one state of the file at the end of the path from another; empty if it cannot be looked at. */
export function signature(path: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  } catch {
    return '';
  }
}

/** The entries on the way to a file, through symbolic links, too: `/etc`, `/etc/knockd-nft.json`. */
function entriesTo(path: string): Set<string> {
  const entries = new Set<string>();
  const left = resolve(path).split('/').slice(1);
  let links = 0;
  for (let at = '/', name = left.shift(); name !== undefined; name = left.shift()) {
    const entry = join(at, name);
    entries.add(entry);
    const target = linkTarget(entry);
    if (target === undefined) at = entry;
    else if (++links > MOST_LINKS) break;
    else {
      left.unshift(...resolve(at, target).split('/').slice(1));
      at = '/';
    }
  }
  return entries;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

export interface Watch {
  /** Looks for changes that inotify does not tell, such as a mount. To be called now and then. */
  readonly look: () => void;
  readonly close: () => void;
}

/**
 * Calls `changed` soon after the path leads to other contents: saved in place, replaced, removed and written again, or by
 * a symbolic link on the way.
 *
 * inotify on every folder on the way, and on the file, sees all of these at once. It may not on a network file system or in
 * a folder that we may not read. There we check the path five times a second.
 */
export function watchPath(path: string, changed: () => void): Watch {
  let settling: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let watchers: readonly FSWatcher[] = [];
  let way = '';
  let seen = signature(path);

  const soon = (): void => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      follow();
      const now = signature(path);
      if (now === seen) return;
      seen = now;
      changed();
    }, SETTLE);
  };
  const look = (): void => {
    if (signature(path) !== seen) soon();
  };
  /** Watches the way to the file as it is now. */
  const follow = (): void => {
    const entries = entriesTo(path);
    const now = [...entries].map(entry => `${entry} ${inode(entry)}`).join('\n');
    if (now === way) return;
    way = now;
    end();
    const folders = new Set([...entries].map(dirname));
    const started = [...folders].map(folder =>
      startWatching(folder, pollInstead, name => {
        if (name === null || entries.has(join(folder, name))) soon();
      }),
    );
    started.push(startWatching(path, pollInstead, soon));
    watchers = started.filter(watcher => watcher !== undefined);
    const told = started.every(watcher => watcher !== undefined) && [...folders].every(isLocal);
    if (!told) pollInstead();
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
  return {
    look,
    close: () => {
      clearTimeout(settling);
      end();
    },
  };
}

/** Undefined if the path is not there or we may not read it, or if no inotify is left. */
function startWatching(
  path: string,
  lost: () => void,
  seen: (entry: string | null) => void,
): FSWatcher | undefined {
  try {
    const watcher = watch(path, (_, name) => seen(name));
    watcher.on('error', () => {
      watcher.close();
      lost();
    });
    return watcher;
  } catch {
    return undefined;
  }
}

function inode(path: string): number {
  try {
    return statSync(path).ino;
  } catch {
    return 0;
  }
}

function isLocal(folder: string): boolean {
  try {
    return LOCAL.has(statfsSync(folder).type >>> 0);
  } catch {
    return false;
  }
}
