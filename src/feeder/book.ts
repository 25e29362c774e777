import { mkdirSync, openSync } from 'node:fs';
import { uptime } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SECRET } from '../config/secret.ts';
import { bootId, monotonic } from '../host/clock.ts';
import { closeRead, readPlain, writeState } from '../host/files.ts';
import { stateFolder } from '../host/last-good.ts';
import { tryLock } from '../host/lock.ts';
import { readOr } from '../host/proc.ts';
import { LockedError } from '../table/errors.ts';
import { type TokenKey, windowAt } from '../token/derive.ts';
import { type Fed, type Ledger, type Moment, NO_FRESH, newLedger, skipUnknown, withFresh } from './ledger.ts';

/** The path of the ledger's file. */
function bookPath(env: NodeJS.ProcessEnv): string | undefined {
  const folder = stateFolder(env);
  return folder && join(folder, 'tokens.json');
}

/** This moment, on this machine. */
export function thisMoment(): Moment {
  const now = Date.now();
  return {
    machine: readOr('/etc/machine-id', '').trim(),
    boot: bootId(),
    now,
    monotonic: monotonic(),
    booted: now - uptime() * 1000,
  };
}

/** The ledger, open for one change. */
export interface Book {
  /** As it was found. If none could be read, a new one with the floor above all windows that may have been used. */
  readonly ledger: Ledger;
  /** Why there is no old one; undefined if there is. */
  readonly missing: string | undefined;
  /**
   * Keeps a ledger, which is on the disk when this returns. Throws as write(2) and fsync(2) do. Then this process remembers
   * it until a later one can be kept.
   */
  readonly write: (ledger: Ledger) => void;
}

/** Ledgers that could not be kept, by path. */
const unkept = new Map<string, Ledger>();

/** How long another process may have the ledger, and how often to ask, in milliseconds. */
const PATIENCE = 10_000;
const LOOK = 20;

/** Opens the ledger for as long as `use` takes. No other process has it meanwhile. */
export async function withBook<T>(env: NodeJS.ProcessEnv, use: (book: Book) => Promise<T>): Promise<T> {
  const path = bookPath(env);
  if (path === undefined) return use(openBook(NOWHERE, () => refuse('this network has no state folder')));
  let lock: number;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    lock = openSync(dirname(path), 'r');
  } catch (error) {
    return use(openBook(path, () => refuse(messageOf(error))));
  }
  try {
    for (const end = performance.now() + PATIENCE; !tryLock(lock); await delay(LOOK))
      if (performance.now() > end)
        throw new LockedError(`another process has kept the record of used tokens for ${PATIENCE / 1000} s`);
    return await use(openBook(path, text => writeState(path, text)));
  } finally {
    closeRead(lock);
  }
}

/**
 * Writes down that secrets were just made, before they are in any configuration, so that their tokens open at once. Throws if
 * that cannot be kept. Then their first tokens are left out, like those of all others.
 */
export async function noteFresh(env: NodeJS.ProcessEnv, keys: readonly TokenKey[]): Promise<void> {
  await withBook(env, async ({ ledger, write }) => write(withFresh(ledger, keys, bootId())));
}

/** The sentence for an administrator whose new secret cannot be noted. */
export function unnotedText(error: unknown): string {
  return `tokens may open nothing in the first five minutes: the new secret cannot be noted (${messageOf(error)})`;
}

/**
 * The ledger at this moment, only to look at; undefined if there is none, or we may not read it. `missing` says why there is
 * none; undefined if we may not know.
 */
export function readBook(env: NodeJS.ProcessEnv): {
  readonly ledger: Ledger | undefined;
  readonly missing: string | undefined;
} {
  const path = bookPath(env);
  if (path === undefined) return { ledger: undefined, missing: undefined };
  try {
    return { ledger: parseLedger(readPlain(path)), missing: undefined };
  } catch (error) {
    const isForbidden = error instanceof Error && 'code' in error && error.code === 'EACCES';
    return { ledger: undefined, missing: isForbidden ? undefined : messageOf(error) };
  }
}

/** In place of a path. */
const NOWHERE = '';

function refuse(why: string): never {
  throw new Error(why);
}

function openBook(path: string, save: (text: string) => void): Book {
  const write = (ledger: Ledger): void => {
    unkept.set(path, ledger);
    save(JSON.stringify(ledger));
    unkept.delete(path);
  };
  const remembered = unkept.get(path);
  if (remembered) return { ledger: remembered, missing: undefined, write };
  try {
    return { ledger: parseLedger(readPlain(path)), missing: undefined, write };
  } catch (error) {
    return {
      ...blank(isAbsent(error) ? 'no used tokens were recorded here before' : messageOf(error)),
      write,
    };
  }
}

function blank(missing: string): Omit<Book, 'write'> {
  const moment = thisMoment();
  return { ledger: skipUnknown(newLedger(moment), windowAt(moment.now)), missing };
}

const DAMAGED = 'the record of used tokens is damaged';

/** Throws for anything but a whole ledger. */
function parseLedger(text: string): Ledger {
  const ledger: Ledger = { fresh: NO_FRESH, keys: {}, ...parseJson(text) };
  const { machine, time, offset, clean, floor, used, keys, nobodys, fed, fresh } = ledger;
  const whole =
    isText(machine) &&
    typeof clean === 'boolean' &&
    [time, offset, floor].every(Number.isFinite) &&
    isRecord(used) &&
    Object.values(used).every(windows => Array.isArray(windows) && windows.every(Number.isSafeInteger)) &&
    isRecord(keys) &&
    isTexts(Object.values(keys)) &&
    isTexts(nobodys) &&
    (fed === null || isFed(fed)) &&
    isRecord(fresh) &&
    isText(fresh.boot) &&
    isTexts(fresh.keys);
  if (!whole) throw new Error(DAMAGED);
  return ledger;
}

/** The message of JSON.parse would show a part of the text, which holds secrets. */
function parseJson(text: string): Omit<Ledger, 'fresh' | 'keys'> {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(DAMAGED);
  }
}

function isFed(fed: Fed): boolean {
  return (
    isRecord(fed) &&
    isText(fed.table) &&
    isText(fed.id) &&
    Number.isSafeInteger(fed.until) &&
    isRecord(fed.users) &&
    Object.values(fed.users).every(
      user =>
        isRecord(user) &&
        isTexts([user.user, user.realm, user.service]) &&
        isText(user.secret) &&
        SECRET.test(user.secret),
    )
  );
}

const isText = (value: unknown) => typeof value === 'string';
const isTexts = (value: unknown) => Array.isArray(value) && value.every(isText);
const isRecord = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
