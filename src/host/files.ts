import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface FileRights {
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** A file will not be written. The message says why. Nothing was changed. */
export class EditError extends Error {
  override readonly name = 'EditError';
}

/**
 * Opens a file for reading, in a folder that may belong to a user with fewer rights than ours. So it follows no link and waits
 * for no pipe. Throws the errors of open(2), and one for anything but a file.
 */
export function openPlain(path: string): number {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (fstatSync(descriptor).isFile()) return descriptor;
  } catch (error) {
    closeRead(descriptor);
    throw namingPath(error, path);
  }
  closeRead(descriptor);
  throw new Error(`${path} is no file`);
}

/** Closes a file that was only read or locked. A file system that fails at that, as one of a network may, takes nothing back. */
export function closeRead(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {}
}

/** The text of a file, opened by {@link openPlain}. */
export function readPlain(path: string): string {
  return readPlainBytes(path).toString();
}

/** The same as bytes. */
export function readPlainBytes(path: string): Buffer {
  const descriptor = openPlain(path);
  try {
    return readFileSync(descriptor);
  } catch (error) {
    throw namingPath(error, path);
  } finally {
    closeRead(descriptor);
  }
}

/**
 * Writes a file whole or not at all, whatever the umask. The folder may belong to a user with fewer rights than ours (like
 * systemd's folders of the service). A link in its place is replaced, never followed.
 */
export function writeWhole(path: string, data: string | Uint8Array, rights: FileRights): void {
  const temporary = writeTemporary(path, data, rights);
  try {
    renameSync(temporary, path);
  } catch (error) {
    removeTemporary(temporary);
    throw namingPath(error, path, temporary);
  }
}

/**
 * Writes a file next to `path`, to be renamed to it, and returns its name. It is on the disk when this returns. Files that a
 * killed process left there are removed, since they may hold secrets.
 */
export function writeTemporary(
  path: string,
  data: string | Uint8Array,
  { mode, uid, gid }: FileRights,
): string {
  removeLeftovers(path);
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
  let descriptor: number;
  try {
    descriptor = openSync(temporary, 'wx', 0o600);
  } catch (error) {
    throw namingPath(error, path, temporary);
  }
  try {
    writeFileSync(descriptor, data);
    if (uid !== undefined && gid !== undefined) fchownSync(descriptor, uid, gid);
    fchmodSync(descriptor, mode);
    fsyncSync(descriptor);
    return temporary;
  } catch (error) {
    removeTemporary(temporary);
    throw namingPath(error, path);
  } finally {
    try {
      closeSync(descriptor);
    } catch {} // fsync(2) has said whether it is on the disk
  }
}

/**
 * Whether a file that could not be read holds nothing for us: it does not exist, or it is not ours. After any other failure, such
 * as that of a disk, nobody knows its contents.
 */
export function holdsNothing(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === undefined || NOTHING.has(String(code));
}

const NOTHING: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP']);

/** If this fails, a later write removes the file. */
export function removeTemporary(temporary: string): void {
  try {
    unlinkSync(temporary); // rmSync looks first, which may fail
  } catch {}
}

/** Removes the temporary files of processes that ended before they could. */
function removeLeftovers(path: string): void {
  try {
    for (const name of readdirSync(dirname(path))) {
      if (!name.startsWith(`${basename(path)}.`)) continue;
      const [, pid] = TEMPORARY.exec(name.slice(basename(path).length)) ?? [];
      if (pid !== undefined && hasEnded(Number(pid))) removeTemporary(join(dirname(path), name));
    }
  } catch {} // a later write may see the folder
}

const TEMPORARY = /^\.(\d+)\.[0-9a-f]{12}\.tmp$/;

function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}

/**
 * An error that names the file that was meant. That of a full disk names none; that of a temporary file has a new name each time, so
 * a message that is to be told once would be told each time.
 */
function namingPath(error: unknown, path: string, temporary = ''): unknown {
  if (!(error instanceof Error)) return error;
  const message =
    'path' in error
      ? error.message.replace(`'${temporary}' -> `, '').replace(temporary, () => temporary && path)
      : `${error.message} '${path}'`;
  return Object.assign(error, { message, path });
}

/** Writes a file of the state folder in the same way. It is secret, and belongs to the folder's owner. */
export function writeState(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { uid, gid } = statSync(dirname(path));
  writeWhole(path, data, process.geteuid?.() === 0 ? { mode: 0o600, uid, gid } : { mode: 0o600 });
}
