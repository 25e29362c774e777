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
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

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
  if (fstatSync(descriptor).isFile()) return descriptor;
  closeSync(descriptor);
  throw new Error(`${path} is no file`);
}

/** The text of a file, opened by {@link openPlain}. */
export function readPlain(path: string): string {
  const descriptor = openPlain(path);
  try {
    return readFileSync(descriptor, 'utf8');
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Writes a file whole or not at all, whatever the umask. The folder may belong to a user with fewer rights than ours (like
 * systemd's folders of the service). A link in its place is replaced, never followed.
 */
export function writeWhole(path: string, data: string | Uint8Array, { mode, uid, gid }: FileRights): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const descriptor = openSync(temporary, 'wx', 0o600);
  try {
    writeFileSync(descriptor, data);
    if (uid !== undefined && gid !== undefined) fchownSync(descriptor, uid, gid);
    fchmodSync(descriptor, mode);
    fsyncSync(descriptor);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw namingPath(error, path);
  } finally {
    closeSync(descriptor);
  }
}

/** Adds the path to an error of writing, such as that of a full disk, which does not name the file. */
function namingPath(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || 'path' in error) return error;
  return Object.assign(error, { message: `${error.message} '${path}'`, path });
}

/** Writes a file of the state folder in the same way. It is secret, and belongs to the folder's owner. */
export function writeState(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { uid, gid } = statSync(dirname(path));
  writeWhole(path, data, process.geteuid?.() === 0 ? { mode: 0o600, uid, gid } : { mode: 0o600 });
}
