/** Files with sequences, as they come from the file system. It matters which other users can read or write them. */
import { Buffer, isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { ConfigError, UnreadableError } from './problems.ts';
import { Report } from './report.ts';
import { parseTree, type Tree } from './syntax.ts';

const MAX_BYTES = 8 * 1024 * 1024;

/**
 * Checks the descriptor, not the path, so that no other process can change the file between check and reading. `wanted` says
 * what the file should be, for a message if there is none.
 */
export function readBytes(
  path: string,
  wanted = 'a configuration',
): { readonly stats: Stats; readonly bytes: Buffer } {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY); // no wait for a FIFO
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) refuse(path, `this is not a regular file; expected ${wanted}`);
    if (stats.size > MAX_BYTES) refuse(path, TOO_LARGE);
    const bytes = readFileSync(descriptor);
    if (bytes.length > MAX_BYTES) refuse(path, TOO_LARGE); // it grew
    return { stats, bytes };
  } catch (error) {
    if (error instanceof Error && 'code' in error) {
      const code = String(error.code);
      throw new UnreadableError(path, unreadable(code, wanted), {
        missing: MISSING.has(code),
        permission: NOT_PERMITTED.has(code),
      });
    }
    throw error;
  } finally {
    try {
      if (descriptor !== undefined) closeSync(descriptor);
    } catch {} // all was read
  }
}

const MISSING: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR']);
const NOT_PERMITTED: ReadonlySet<string> = new Set(['EACCES', 'EPERM']);
const TOO_LARGE = 'the file is too large; expected at most 8 MiB';

function unreadable(code: string, wanted: string): string {
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: `there is no such file; expected ${wanted}`,
    ENOTDIR: `there is no such file: a part of its path is not a folder; expected ${wanted}`,
    EACCES:
      'not permitted: this user may not read the file (EACCES); expected read permission, which root has',
    EPERM: 'not permitted: this user may not read the file (EPERM); expected read permission, which root has',
  };
  return reasons[code] ?? `the file cannot be read (${code}); expected a readable file`;
}

function refuse(path: string, message: string): never {
  const report = new Report(path);
  report.error(null, message);
  throw new ConfigError(report.problems);
}

/** Permissions as chmod takes them: `0600`. */
export function formatMode({ mode }: Stats): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}

/** Whether other users than the owner have one of these rights. On Windows the mode does not say. */
export function othersMay({ mode }: Stats, rights: number): boolean {
  return process.platform !== 'win32' && (mode & rights) !== 0;
}

/** The owner of a file decides what is in it, so a wrong one is an error. */
export function tellOwner(stats: Stats, report: Report): void {
  const problem = ownerProblem(stats);
  if (problem) report.error(null, `the file ${problem.wrong}; expected ${problem.expected}`);
}

/** The problem with the owner of a file; undefined for root and for the user who runs this. */
export function ownerProblem({
  uid,
}: Stats): { readonly wrong: string; readonly expected: string } | undefined {
  const caller = process.geteuid?.();
  if (uid === 0 || uid === caller) return undefined;
  return { wrong: `belongs to user ${uid}`, expected: `root or the user who runs this (${caller})` };
}

/** Replaces no byte in silence. With a sequence garbled by a wrong character set, users would knock in vain. */
export function decode(bytes: Buffer): Tree {
  const text = bytes.toString('utf8');
  if (isUtf8(bytes)) return parseTree(text);
  const before = text.slice(0, firstReplacement(text, bytes)).split(/\r\n|\r|\n/);
  const at = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
  return { at, wrong: 'a byte that is no UTF-8; expected the file in UTF-8' };
}

/** The first position at which decoding put U+FFFD for bytes that are not U+FFFD. */
function firstReplacement(text: string, bytes: Buffer): number {
  let index = 0;
  let offset = 0;
  for (;;) {
    const next = text.indexOf('\uFFFD', index);
    offset += Buffer.byteLength(text.slice(index, next));
    if (next === -1 || bytes.toString('latin1', offset, offset + 3) !== '\xEF\xBF\xBD') return next;
    offset += 3;
    index = next + 1;
  }
}
