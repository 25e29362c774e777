import { accessSync, constants, linkSync, lstatSync, readFileSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { removeTemporary, writeTemporary } from '../host/files.ts';
import { findGroup, SERVICE_USER } from '../host/service-user.ts';
import { isPackaged } from './document.ts';

/** The place for a new configuration. */
export interface Place {
  readonly path: string;
  /** A supervisor follows the configuration, and would load it at once. So `path` is a file next to it, for `try`. */
  readonly candidate: boolean;
  /** There is a file already. A copy of it stays. */
  readonly replaces: boolean;
}

/** The configuration will not be written. The message says why, and what to do. Nothing was changed. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly permission: boolean;

  constructor(message: string, permission = false) {
    super(message);
    this.permission = permission;
  }
}

/** Far more than a package writes. */
const PACKAGED_BYTES = 65_536;

/**
 * Finds the place for the configuration `file`. An existing file is left alone, unless there is `force`, or a package
 * wrote it and it is unchanged. Throws {@link RefusedError}, also if the folder is not writable.
 */
export function findPlace(
  file: string,
  { supervised, force, example }: { supervised: boolean; force: boolean; example: string },
): Place {
  if (!force && exists(file) && !isUntouched(file, example)) {
    const forced = supervised
      ? `--force writes a new one to ${file}.new, to be tried`
      : '--force replaces it, and keeps a copy of the old one';
    throw new RefusedError(
      `${file} exists already, and stays as it is: edit it, or write another one with --config FILE; ${forced}`,
    );
  }
  const path = supervised ? `${file}.new` : file;
  if (!force && supervised && exists(path))
    throw new RefusedError(
      `${path} exists already, and stays as it is: knockd-nft try ${path} tries it; --force replaces it, and keeps a copy of the old one`,
    );
  checkFolder(dirname(path));
  return { path, candidate: supervised, replaces: exists(path) };
}

/**
 * Writes the text with mode 0640, for the services' group if there is one. It writes all or nothing, and never over a file
 * that appeared meanwhile. Returns the path of the copy if it replaced a file.
 */
export function writePlace({ path, replaces }: Place, text: string): string | null {
  let temporary: string | undefined;
  try {
    const gid = process.geteuid?.() === 0 ? findGroup(SERVICE_USER) : undefined;
    temporary = writeTemporary(path, text, { mode: 0o640, ...(gid === undefined ? {} : { uid: 0, gid }) });
    if (!replaces) {
      linkSync(temporary, path); // unlike a rename, it fails if there is a file
      return null;
    }
    const copy = keepCopy(path);
    try {
      renameSync(temporary, path);
    } catch (error) {
      removeTemporary(copy); // nothing was replaced
      throw error;
    }
    return copy;
  } catch (error) {
    throw refusal(path, error);
  } finally {
    if (temporary !== undefined) removeTemporary(temporary);
  }
}

/** Gives the file another name: `FILE.bak`, or `FILE.bak2` if that is taken, and so on. Returns it. */
function keepCopy(path: string): string {
  for (let number = 1; ; number++) {
    const copy = `${path}.bak${number === 1 ? '' : number}`;
    if (exists(copy)) continue;
    linkSync(path, copy);
    return copy;
  }
}

/** A package wrote it, and nobody changed it. */
export function isUntouched(file: string, example: string): boolean {
  try {
    const stats = lstatSync(file);
    if (!stats.isFile() || stats.size > PACKAGED_BYTES) return false;
    return isPackaged(readFileSync(file, 'utf8'), example);
  } catch {
    return false; // this user may not read it
  }
}

/** Also true for a symbolic link that leads nowhere. */
export function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    return codeOf(error) === 'EACCES';
  }
}

function checkFolder(folder: string): void {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw refusal(folder, error);
  }
}

function refusal(path: string, error: unknown): unknown {
  const code = codeOf(error);
  if (code === undefined) return error;
  if (code === 'EEXIST')
    return new RefusedError(`${path} was written by another program meanwhile, and stays as it is`);
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new RefusedError(
      `there is no folder ${path}: make it first, or name another file with --config FILE`,
    );
  const permission = code === 'EACCES' || code === 'EPERM';
  return new RefusedError(
    permission
      ? `not permitted: ${path} cannot be written by this user (${code}): use sudo, or name another file with --config FILE`
      : `${path} cannot be written (${code}): name another file with --config FILE`,
    permission,
  );
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
