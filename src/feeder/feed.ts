import { randomBytes } from 'node:crypto';
import type { Config } from '../config/types.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { compileAutomaton, type TokenPlace } from '../ruleset/automaton.ts';
import { handleOf } from '../table/read.ts';
import type { Writer } from '../table/writer.ts';
import { beginOf, windowAt } from '../token/derive.ts';
import { type Book, thisMoment, withBook } from './book.ts';
import { hasTrustedClock } from './clock.ts';
import { earlierOf, placeId, planFeed, settle, tokenOfUser, windowOf, withUsesOf } from './feed-plan.ts';
import { blocking, commitFeed, flushTokens, isThere, readUsed } from './kernel.ts';
import { type Ledger, skipUnknown, stamped, withHeard, withKeys, withoutFresh } from './ledger.ts';

/** The users whose tokens should be in the kernel, and their table. Plain data, for other threads too. */
export interface TokensWanted {
  /** Of our table. */
  readonly table: string;
  readonly users: readonly TokenPlace[];
  readonly realm: string;
  readonly hours: number;
}

/** The tokens that a configuration wants; undefined if it has none. */
export function tokensWanted({ table, services, token }: Config): TokensWanted | undefined {
  if (services.every(({ tokens }) => tokens.length === 0)) return undefined;
  const { realm, hours } = token;
  return { table, users: compileAutomaton(services, realm).tokens, realm, hours };
}

/** How the tokens stand. */
export type Feeding =
  /** Nothing is fed until the clock can be believed. */
  | { readonly is: 'waiting' }
  /** Another program removed our table. */
  | { readonly is: 'gone' }
  | {
      readonly is: 'fed';
      readonly users: number;
      /** The end of the last window with tokens in the kernel, in milliseconds of the epoch. */
      readonly until: number;
      /** When tokens begin to open, if earlier ones may have been used and are left out; and why. */
      readonly from: number | undefined;
      readonly why: string | undefined;
      /** Why used tokens cannot be written down, so that a reboot would forget them; undefined if they are. */
      readonly unkept: string | undefined;
      /** The kernel's set of used tokens as it is known now. */
      readonly used: readonly string[];
    };

/**
 * Puts the tokens of the coming hours into our table, and keeps used ones used. With `watched` the caller has seen
 * every use since the ledger was written, so nothing need be left out. Throws NetlinkError if the kernel refuses; the
 * guard stands nevertheless.
 */
export async function feed(
  writer: Writer,
  wanted: TokensWanted,
  {
    env,
    watched,
    written,
  }: {
    readonly env: NodeJS.ProcessEnv;
    readonly watched: boolean;
    /** Used tokens that are written down for sure. We do not look for their owners again. */
    readonly written?: ReadonlySet<string>;
  },
): Promise<Feeding> {
  if (!hasTrustedClock()) return { is: 'waiting' };
  const { connection } = writer;
  const { table, users, realm, hours } = wanted;
  return withBook(env, async book => {
    const handle = await handleOf(connection, table);
    if (handle === undefined) return { is: 'gone' };
    const moment = thisMoment();
    const known = await isThere(connection, table, book.ledger);
    const used = known ? await readUsed(connection, table) : undefined;
    const settled = settle(book.ledger, {
      moment,
      watched,
      missing: book.missing,
      used,
      ...(written && { written }),
    });
    const { ledger: begun, why } = book.ledger.clean ? begin(book, settled, moment.now) : settled;
    const ledger = withKeys(
      begun,
      new Map(users.map(({ place, ...user }) => [placeId(place), { ...user, realm }])),
    );
    const id = randomBytes(16).toString('hex');
    const options = { realm, hours, table: handle, known, complete: known || watched, id, moment };
    let plan = planFeed(ledger, users, options);
    const spent = withoutFresh(
      ledger,
      users.map(user => ({ ...user, realm })),
    );
    const fed = { ...stamped(spent, moment), clean: false };
    // if we end while all tokens are fed again, nothing counts as known
    if (plan.flush) keep(book, { ...fed, fed: null });
    // a secret is fresh only once; if that cannot be kept, it counts as never fresh
    if (
      spent !== ledger &&
      keep(book, { ...spent, clean: false, fed: plan.flush ? null : ledger.fed }) !== undefined
    )
      plan = planFeed(spent, users, options);
    const there = new Set(plan.flush ? [] : used); // if all are fed again, these get their full time-out again
    const missing = plan.used.filter(token => !there.has(token));
    await commitFeed(writer, table, { ...plan, used: missing }, hours);
    const unkept = keep(book, { ...fed, fed: plan.fed });
    const from = Object.values(plan.fed.users).every(({ fresh }) => fresh) ? 0 : beginOf(ledger.floor + 1);
    return {
      is: 'fed',
      users: users.length,
      until: beginOf(plan.fed.until + 1),
      from: from > moment.now ? from : undefined,
      why,
      unkept,
      used: [...(used ?? []), ...plan.used],
    };
  });
}

/**
 * Marks the ledger as not clean. If that cannot be kept, the next process would take the ledger for complete, and so would a
 * later one. Then the windows that it may be wrong about are not fed.
 */
function begin(
  book: Book,
  { ledger, why }: { readonly ledger: Ledger; readonly why: string | undefined },
  now: number,
) {
  const unkept = keep(book, { ...ledger, clean: false, fed: null });
  if (unkept === undefined) return { ledger, why };
  return {
    ledger: skipUnknown(ledger, windowAt(now)),
    why: why ?? `used tokens cannot be remembered: ${unkept}`,
  };
}

/** Writes the ledger down; says why if it cannot be kept. */
function keep(book: Book, ledger: Ledger): string | undefined {
  try {
    book.write(ledger);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A use that the kernel reported. */
export interface Use {
  /** The place that the token led to. */
  readonly place: number;
  /** Undefined if the report does not show it. */
  readonly token: string | undefined;
}

/**
 * Writes uses down at once, and blocks the tokens of the two windows before each. `complete` is false if a report does not tell
 * the window, or if the ledger cannot be kept. Then {@link feed} has to read the kernel's own set.
 */
export async function noteUses(
  writer: Writer,
  { table, hours }: TokensWanted,
  uses: readonly Use[],
  env: NodeJS.ProcessEnv,
): Promise<{
  readonly complete: boolean;
  /** The tokens that count as used now. */
  readonly written: readonly string[];
}> {
  return withBook(env, async book => {
    const { ledger } = book;
    const now = Date.now();
    const found = uses.flatMap(({ place, token }) => {
      const id = placeId(place);
      const user = ledger.fed?.users[id];
      const window = user && token !== undefined ? windowOf(user, token, now) : undefined;
      return user && window !== undefined ? [{ place: id, user, window }] : [];
    });
    const before = earlierOf(found);
    // the offset stays, since it shows whether the clock was set
    const unkept = keep(book, withHeard(ledger, [...found, ...before], now));
    // those that were used, too: a load may have fed them again meanwhile, since the ledger did not have them yet
    const written = [...found, ...before].map(({ user, window }) => tokenOfUser(user, window));
    try {
      await writer.putTokens(table, blocking(table, written, hours));
    } catch (error) {
      // the table may be gone; the load that makes it again uses the ledger
      if (!(error instanceof NetlinkError) || error.code !== 'ENOENT') throw error;
    }
    return {
      complete: found.length === uses.length && unkept === undefined,
      written,
    };
  });
}

/**
 * Takes all tokens out of the kernel, and writes down which were used until then. To be called before the table is
 * removed, made again or renamed. Afterwards no used token can open again, and none need be left out. If the uses
 * cannot be written down, returns why, as a sentence. Then the next load leaves out the tokens that may have been used.
 */
export async function withdraw(
  writer: Writer,
  table: string,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const { connection } = writer;
  return withBook(env, async book => {
    const { ledger, missing } = book;
    const complete = missing === undefined && (await isThere(connection, table, ledger));
    await flushTokens(writer, table);
    const moment = thisMoment();
    const used = complete ? await readUsed(connection, table) : [];
    const after = withUsesOf(ledger, used, moment.now);
    return keep(book, { ...stamped(after, moment), clean: complete, fed: null });
  });
}
