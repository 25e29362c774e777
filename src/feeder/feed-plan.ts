import { haveRoom, windowsFor } from '../config/tokens.ts';
import type { TokenPlace } from '../ruleset/automaton.ts';
import { AHEAD, beginOf, deriveToken, windowAt } from '../token/derive.ts';
import {
  type Fed,
  type FedUser,
  hasStepped,
  isFresh,
  isUsed,
  type Ledger,
  type Moment,
  skipUnknown,
  whyIncomplete,
  withUsed,
} from './ledger.ts';

/** A token that goes into the kernel. */
export interface Ready {
  readonly token: string;
  readonly place: number;
  /** In milliseconds from now. */
  readonly timeout: number;
}

/** The changes to the kernel's tokens. */
export interface Feed {
  /** Take all tokens out first. */
  readonly flush: boolean;
  /** Tokens of users that are gone; some may be used or expired by now. */
  readonly removed: readonly string[];
  /** Used ones, for the set that keeps them from opening again. They may be in it already. */
  readonly used: readonly string[];
  /** The nearest first. Each is made when it is asked for, since there may be 131,072. */
  readonly ready: Iterable<Ready>;
  readonly fed: Fed;
}

/** How long a token outlives its window, in milliseconds. Clocks differ, and packets are late. */
const GRACE = 90_000;

/** The first window that may open now or later. In the first half of a minute it is the second to last that ended. */
function firstWindow(now: number): number {
  return windowAt(now - GRACE);
}

/** The last window whose tokens should be in the kernel. */
export function lastWindow(now: number, users: number, hours: number): number {
  return windowAt(now) + windowsFor(users, hours) + AHEAD;
}

export function placeId(place: number): string {
  return place.toString(16).padStart(8, '0');
}

/**
 * Plans how to bring the kernel from the tokens that it has to those that it should have. With the same users and a clock that
 * only went on, it adds the new windows. A user who came is fed alone if there is room, and one who went is taken out alone. In
 * all other cases all tokens go, and the nearest come back in the same transaction. `known` says that the kernel has the tokens
 * that the ledger calls fed, and `complete` that each use of them is in the ledger. `table` is the handle of the present table,
 * and `id` marks tokens that are all fed anew.
 */
export function planFeed(
  ledger: Ledger,
  users: readonly TokenPlace[],
  options: {
    readonly realm: string;
    readonly hours: number;
    readonly table: string;
    readonly known: boolean;
    readonly complete: boolean;
    readonly id: string;
    readonly moment: Moment;
  },
): Feed {
  const { realm, hours, table, known, complete, id: fresh, moment } = options;
  const { now } = moment;
  const [first, until] = [firstWindow(now), lastWindow(now, users.length, hours)];
  const going = known && !hasStepped(ledger, moment) ? ledger.fed : null;
  // when more users come, each has fewer windows, and the map may have no room beside those that it holds
  const before = going && haveRoom(users.length, Math.max(until, going.until) - first + 1) ? going : null;
  // by a clock that was set back, windows could open that the ledger has forgotten
  const stillFresh = complete && first >= firstWindow(ledger.time) ? ledger.fed : null;
  const wanted = new Map(
    users.map(({ place, service, user, secret }) => [
      placeId(place),
      { place, user: user ?? '', realm, service, secret },
    ]),
  );
  const entryOf = ([id, { place: _, secret, ...rest }]: [string, WantedUser]): [string, FedUser] => {
    const known = before?.users[id] ?? stillFresh?.users[id];
    const isNew = !known && ledger.used[id] === undefined && isFresh(ledger, { ...rest, secret }, moment);
    const fresh = isNew || known?.fresh ? { fresh: true as const } : {};
    return [id, { ...rest, secret: Buffer.from(secret).toString('hex'), ...fresh }];
  };
  const fed: Fed = {
    table,
    boot: moment.boot,
    id: before?.id ?? fresh,
    until: Math.max(until, before?.until ?? 0),
    users: Object.fromEntries([...wanted].map(entryOf)),
  };
  const feeding = [...wanted].map(([id, { place, ...key }]) => {
    const isThere = before?.users[id] !== undefined;
    const record = !isThere && fed.users[id]?.fresh ? { ...ledger, floor: 0 } : ledger;
    return { id, place, key, from: isThere ? before.until + 1 : first, record };
  });
  const ready = {
    *[Symbol.iterator](): Iterator<Ready> {
      const start = feeding.reduce((least, { from }) => Math.min(least, from), fed.until + 1);
      for (let window = start; window <= fed.until; window++) {
        const timeout = beginOf(window + 1) + GRACE - now;
        if (timeout <= 0) continue;
        for (const { id, place, key, from, record } of feeding)
          if (window >= from && !isUsed(record, id, window))
            yield { token: deriveToken(key, window), place, timeout };
      }
    },
  };
  const gone = Object.entries(before?.users ?? {}).filter(([id]) => !wanted.has(id));
  return {
    flush: before === null,
    removed: gone.flatMap(([, user]) => tokensBetween(ledger, user, first, before?.until ?? 0)),
    used: usedTokens(ledger, fed, first),
    ready,
    fed,
  };
}

type WantedUser = Omit<FedUser, 'secret' | 'fresh'> & Pick<TokenPlace, 'place' | 'secret'>;

/** A user's tokens that may still be in the kernel, also the two before a used one, which were not used themselves. */
function tokensBetween({ floor }: Ledger, user: FedUser, first: number, last: number): string[] {
  const tokens: string[] = [];
  for (let window = first; window <= last; window++)
    if (user.fresh || window > floor) tokens.push(tokenOfUser(user, window));
  return tokens;
}

/** Used tokens of windows whose tokens a client may still take for unused. */
function usedTokens({ used }: Ledger, { users }: Fed, first: number): string[] {
  return Object.entries(users).flatMap(([id, user]) =>
    (used[id] ?? []).filter(window => window >= first - AHEAD).map(window => tokenOfUser(user, window)),
  );
}

export function tokenOfUser({ secret, ...purpose }: FedUser, window: number): string {
  return deriveToken({ ...purpose, secret: Buffer.from(secret, 'hex') }, window);
}

/** The window of a user's token. Tries the nearest first, as far as tokens may have been fed. */
export function windowOf(user: FedUser, token: string, now: number): number | undefined {
  const here = windowAt(now);
  for (let distance = 0; distance <= FARTHEST; distance++)
    for (const window of [here - distance, here + distance])
      if (tokenOfUser(user, window) === token) return window;
  return undefined;
}

/** A day of windows, and some. */
const FARTHEST = 25 * 60;

/**
 * The ledger with all uses that we can know of by now. `used` are the tokens of the kernel's own set, if the table is the one
 * that was fed; undefined for another one. `why` says why uses may be unknown. The windows that may be meant are left out.
 */
export function settle(
  ledger: Ledger,
  options: {
    readonly moment: Moment;
    /** The caller has seen each use until the table went. */
    readonly watched: boolean;
    /** Why there is no earlier ledger. */
    readonly missing: string | undefined;
    readonly used: readonly string[] | undefined;
    /** Of these, the ones that are written down for sure. */
    readonly written?: ReadonlySet<string>;
  },
): { readonly ledger: Ledger; readonly why: string | undefined } {
  const { moment, watched, missing, used, written } = options;
  if (used) return { ledger: withUsesOf(ledger, used, moment.now, written), why: undefined };
  if (watched) return { ledger, why: undefined };
  const why = missing ?? whyIncomplete(ledger, moment);
  if (why === undefined && ledger.time <= moment.now) return { ledger, why };
  // a clock that is behind has seen later windows before
  const window = windowAt(Math.max(moment.now, ledger.time));
  return { ledger: skipUnknown(ledger, window), why: why ?? 'the clock was set back' };
}

/** How many windows a used token may be away from the moment of its use. */
const SLACK = 5;

/** The ledger with the uses in the kernel's own set, except for those that are `written` down for sure. */
export function withUsesOf(
  ledger: Ledger,
  used: readonly string[],
  now: number,
  written: ReadonlySet<string> = new Set(),
): Ledger {
  const { fed } = ledger;
  const nobodys = new Set(ledger.nobodys);
  const others = used.filter(token => !written.has(token) && !nobodys.has(token));
  if (!fed || others.length === 0) return ledger;
  const known = knownTokens(ledger, fed);
  const unknown = new Set(others.filter(token => !known.has(token)));
  // first between the last look and now, by a clock that may have been set; the rest is from clients with clocks that
  // are far ahead
  const first = windowAt(Math.min(ledger.time, now)) - SLACK;
  const last = windowAt(Math.max(ledger.time, now)) + SLACK;
  const uses = [...takeUses(fed, unknown, first, last), ...takeUses(fed, unknown, first, fed.until)];
  const still = used.filter(token => nobodys.has(token));
  const all = [...uses, ...earlierOf(uses)];
  return withUsed({ ...ledger, nobodys: [...still, ...unknown] }, all, windowAt(now));
}

/** The two windows before each use. A stranger must not follow a client with an earlier token that got lost. */
export function earlierOf<Use extends { readonly window: number }>(uses: readonly Use[]): Use[] {
  return uses.flatMap(use => [use.window - 1, use.window - 2].map(window => ({ ...use, window })));
}

function knownTokens({ used }: Ledger, { users }: Fed): Set<string> {
  return new Set(
    Object.entries(users).flatMap(([place, user]) =>
      (used[place] ?? []).map(window => tokenOfUser(user, window)),
    ),
  );
}

/** The places and windows of tokens, between `first` and `last`. Takes those that it finds out of `tokens`. */
function takeUses(
  { users }: Fed,
  tokens: Set<string>,
  first: number,
  last: number,
): { readonly place: string; readonly window: number }[] {
  const uses: { place: string; window: number }[] = [];
  for (const [place, user] of Object.entries(users))
    for (let window = first; window <= last && tokens.size > 0; window++)
      if (tokens.delete(tokenOfUser(user, window))) uses.push({ place, window });
  return uses;
}
