import { type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/** In milliseconds. */
const POLL = 200;
/** A burst of writes ends when nothing happened for so long. */
const SETTLE = 30;

/** What tells one state of a file from another, wherever the path leads; empty where it cannot be looked at. */
function signature(path: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  } catch {
    return '';
  }
}

/**
 * Calls `changed` soon after the path leads to other contents: saved in place, replaced, removed and written again, or by
 * a symbolic link on the way.
 *
 * Looking at the path five times a second sees all of these, and costs less than fs.watchFile, which asks its threads to;
 * inotify on the folder is only there to see most of them sooner.
 */
export function watchPath(path: string, changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let seen = signature(path);
  const look = (): void => {
    const now = signature(path);
    if (now === seen) return;
    seen = now;
    changed();
  };
  const soon = (): void => {
    clearTimeout(timer);
    timer = setTimeout(look, SETTLE);
  };
  const poll = setInterval(() => {
    if (signature(path) !== seen) soon();
  }, POLL);
  const folder = watchFolder(path, soon);
  return () => {
    clearTimeout(timer);
    clearInterval(poll);
    folder?.close();
  };
}

function watchFolder(path: string, soon: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(dirname(path), (_, name) => {
      if (name === basename(path)) soon();
    });
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined; // no folder, or no inotify left: the other way goes on
  }
}
