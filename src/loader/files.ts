import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
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
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** The same for a file of the state folder, which is secret, and belongs to whom the folder belongs to. */
export function writeState(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { uid, gid } = statSync(dirname(path));
  writeWhole(path, data, process.geteuid?.() === 0 ? { mode: 0o600, uid, gid } : { mode: 0o600 });
}
