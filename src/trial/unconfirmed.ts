import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { ConfigError, UnreadableError } from '../config/problems.ts';
import { holdsNothing, readPlain, writeState } from '../host/files.ts';
import { stateFolder } from '../host/last-good.ts';
import { TrialError } from '../table/errors.ts';

/**
 * Contents of the configuration that were tried in place and not confirmed. They may lock users out, so neither a boot nor
 * the supervisor loads them. One SHA-256 a line, in the state folder.
 */
export function unconfirmedPath(env: NodeJS.ProcessEnv): string | undefined {
  const folder = stateFolder(env);
  return folder && join(folder, 'unconfirmed');
}

/** How many to remember. An administrator who edits and tries again may go back to an earlier content. */
const MOST = 100;

/** None if there is no such file. Throws if it is there and cannot be read. */
function readHashes(path: string): string[] {
  try {
    return readPlain(path).trim().split('\n');
  } catch (error) {
    if (holdsNothing(error)) return [];
    throw error;
  }
}

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Remembers a content as not confirmed. Throws if that is impossible. */
export function rememberUnconfirmed(env: NodeJS.ProcessEnv, bytes: Uint8Array): void {
  const path = unconfirmedPath(env);
  if (path === undefined)
    throw new TrialError(
      "a trial in place must be noted, and this is not the host's network: name a folder in $STATE_DIRECTORY, or try a copy of the file",
    );
  const others = readHashes(path).filter(hash => hash !== hashOf(bytes));
  writeState(path, `${[...others, hashOf(bytes)].slice(-MOST).join('\n')}\n`);
}

/** Forgets a content, because it was confirmed after all, or the administrator insists on loading it. */
export function forgetUnconfirmed(env: NodeJS.ProcessEnv, bytes: Uint8Array): void {
  const path = unconfirmedPath(env);
  const hashes = path === undefined ? [] : readHashes(path);
  if (path === undefined || !hashes.includes(hashOf(bytes))) return;
  writeState(
    path,
    hashes
      .filter(hash => hash !== hashOf(bytes))
      .map(hash => `${hash}\n`)
      .join(''),
  );
}

/** Whether a content was tried and not confirmed. */
export function isUnconfirmed(env: NodeJS.ProcessEnv, bytes: Uint8Array): boolean {
  const path = unconfirmedPath(env);
  return path !== undefined && readHashes(path).includes(hashOf(bytes));
}

/** Throws {@link ConfigError} for content of a trial that nobody confirmed, or if this cannot be known at this moment. */
export function refuseUnconfirmed(env: NodeJS.ProcessEnv, file: string, bytes: Uint8Array): void {
  try {
    if (!isUnconfirmed(env, bytes)) return;
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    throw new UnreadableError(
      file,
      `whether this content was confirmed cannot be read (${why}); expected a readable file there, or "knockd-nft load --force"`,
      { missing: false, permission: false },
    );
  }
  const message =
    'this content was tried and not confirmed; expected a change, "knockd-nft try" again, or "knockd-nft load --force"';
  throw new ConfigError([{ severity: 'error', file, line: null, column: null, message }]);
}
