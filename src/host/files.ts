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

/** A file that is not going to be written: the message says why. Nothing was changed. */
export class EditError extends Error {
  override readonly name = 'EditError';
}

/**
 * Opens a file for reading, in a folder that may belong to a user with fewer rights than ours: no link is followed, and no
 * pipe waited for. Throws as open(2) does, and where it is no file.
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
 * Puts a file there whole or not at all, whatever the umask. The folder may belong to a user with fewer rights than ours
 * (systemd's folders of the service do): a link that stands in it is replaced, never followed.
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

/** An error of writing does not name the file: a full disk's, for one. */
function namingPath(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || 'path' in error) return error;
  return Object.assign(error, { message: `${error.message} '${path}'`, path });
}

/** The same for a file of the state folder, which is secret, and belongs to whom the folder belongs to. */
export function writeState(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { uid, gid } = statSync(dirname(path));
  writeWhole(path, data, process.geteuid?.() === 0 ? { mode: 0o600, uid, gid } : { mode: 0o600 });
}
