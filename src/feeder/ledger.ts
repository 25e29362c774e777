import { createHash } from 'node:crypto';
import { type TokenKey, windowAt } from '../token/derive.ts';

/**
 * The ledger: which windows of which place were used. It outlives reboots, so that a token that was used once never opens
 * again. Pure values; {@link ../feeder/book.ts} keeps them in a file.
 */
export interface Ledger {
  /** Which machine wrote this: /etc/machine-id. */
  readonly machine: string;
  /** When it was written, in milliseconds of the epoch, and how far that was from the monotonic clock. */
  readonly time: number;
  readonly offset: number;
  /** We took the tokens out of the kernel after everything that was used had been read. */
  readonly clean: boolean;
  /** No window up to this one is ever loaded, for any place. */
  readonly floor: number;
  /** Used windows, by place, also below the floor, which does not count for new secrets. Removed users stay in. */
  readonly used: Readonly<Record<string, readonly number[]>>;
  /**
   * By place: the beginning of {@link keyId} for its tokens. A user who gets another name and keeps the secret has another place,
   * and the same tokens.
   */
  readonly keys: Readonly<Record<string, string>>;
  /** Used tokens of removed users that the kernel still has. We do not look for their owners again. */
  readonly nobodys: readonly string[];
  /** The content of the kernel's map; null while that is not known for sure. */
  readonly fed: Fed | null;
  /** Secrets that were made lately and never fed. The floor does not count for them yet. */
  readonly fresh: Fresh;
}

/** Secrets that cannot have been used, since they were made on this boot and were in no kernel yet. */
interface Fresh {
  readonly boot: string;
  /** Of {@link keyId}. */
  readonly keys: readonly string[];
}

export const NO_FRESH: Fresh = { boot: '', keys: [] };

/** The tokens in the kernel. */
export interface Fed {
  /** The kernel's handle of the table. Another table of that name has another handle. */
  readonly table: string;
  /** The boot on which they were fed. On another one a saved ruleset may bring back the same handle and mark. */
  readonly boot?: string;
  /**
   * 32 hexadecimal digits, an element among the tokens that opens nothing. A program that flushes the map removes them,
   * too.
   */
  readonly id: string;
  /** The last window. */
  readonly until: number;
  /** By place. */
  readonly users: Readonly<Record<string, FedUser>>;
}

/** The data that a user's tokens are made from. */
export interface FedUser extends Omit<TokenKey, 'secret'> {
  readonly user: string;
  /** 64 hexadecimal digits. */
  readonly secret: string;
  /**
   * None of its tokens can have been used before it was first fed, so the kernel has windows up to the floor, too. That stays while
   * each use is known.
   */
  readonly fresh?: true;
}

/** A moment on a machine. Times are in milliseconds. */
export interface Moment {
  readonly machine: string;
  /** Which boot; empty if that cannot be known. */
  readonly boot: string;
  /** Of the epoch. */
  readonly now: number;
  /** As the monotonic clock counts, which stands still while the machine sleeps. */
  readonly monotonic: number;
  /** When this boot began, of the epoch. */
  readonly booted: number;
}

/** How many windows ahead of the clock tokens may have been used unseen. Clients go two ahead, and clocks differ. */
export const UNKNOWN_WINDOWS = 4;
/** After how many windows a used one is forgotten. Then the floor rises to it. */
const REMEMBERED = 2 * 24 * 60;
/** A ledger that is older than the boot by more than this may have missed another boot: five minutes. */
const GAP = 5 * 60 * 1000;
/** If the difference of both clocks changed by more than this, the clock was set or the machine slept. In milliseconds. */
const STEP = 2000;

export function newLedger(moment: Moment): Ledger {
  return {
    ...stamp(moment),
    clean: false,
    floor: 0,
    used: {},
    keys: {},
    nobodys: [],
    fed: null,
    fresh: NO_FRESH,
  };
}

/** The ledger as of this moment. */
export function stamped(ledger: Ledger, moment: Moment): Ledger {
  return { ...ledger, ...stamp(moment) };
}

function stamp({ machine, now, monotonic }: Moment) {
  return { machine, time: now, offset: now - monotonic };
}

/** The clock was set, or the machine slept, since the ledger was written. */
export function hasStepped({ offset }: Ledger, moment: Moment): boolean {
  return Math.abs(moment.now - moment.monotonic - offset) > STEP;
}

/** Why uses may have been missed since the ledger was written; undefined if it is complete. */
export function whyIncomplete(ledger: Ledger, moment: Moment): string | undefined {
  if (ledger.machine !== moment.machine) return 'the record of used tokens is from another machine';
  if (!ledger.clean) return 'no program watched the tokens while they were last in the kernel';
  if (ledger.time < moment.booted - GAP) return 'the record of used tokens is from before the last boot';
  return undefined;
}

/** Loads no window up to the one that is {@link UNKNOWN_WINDOWS} ahead, since each may have been used. */
export function skipUnknown(ledger: Ledger, window: number): Ledger {
  return { ...ledger, floor: Math.max(ledger.floor, window + UNKNOWN_WINDOWS) };
}

/**
 * A name for all that tokens are made from. Two users with the same name share their tokens. It reveals nothing of the
 * secret.
 */
function keyId({ secret, realm, service }: TokenKey): string {
  return createHash('sha256').update(`fresh ${realm} ${service} `).update(secret).digest('hex');
}

/** Notes that secrets were just made. To be called only for secrets that nobody can have had before. */
export function withFresh(ledger: Ledger, keys: readonly TokenKey[], boot: string): Ledger {
  const before = ledger.fresh.boot === boot ? ledger.fresh.keys : [];
  return { ...ledger, fresh: { boot, keys: [...new Set([...before, ...keys.map(keyId)])] } };
}

/**
 * Whether a secret was made on this boot, and never fed. A copy of the ledger that is brought back later, on another boot or
 * another machine, makes nothing fresh again.
 */
export function isFresh({ machine, fresh }: Ledger, key: TokenKey, moment: Moment): boolean {
  return (
    machine === moment.machine &&
    moment.boot !== '' &&
    fresh.boot === moment.boot &&
    fresh.keys.includes(keyId(key))
  );
}

/** The ledger once these secrets are fed and so no longer fresh. The same object if none of them was fresh. */
export function withoutFresh(ledger: Ledger, keys: readonly TokenKey[]): Ledger {
  const fed = new Set(keys.map(keyId));
  const left = ledger.fresh.keys.filter(id => !fed.has(id));
  return left.length === ledger.fresh.keys.length
    ? ledger
    : { ...ledger, fresh: { ...ledger.fresh, keys: left } };
}

/**
 * The ledger with the keys of these users, by place. A window that was used at another place with the same key is used at theirs.
 */
export function withKeys(ledger: Ledger, users: ReadonlyMap<string, TokenKey>): Ledger {
  const wanted = new Map([...users].map(([place, key]) => [place, keyId(key).slice(0, 16)]));
  const keys = new Map([...Object.entries(ledger.keys).filter(([place]) => ledger.used[place]), ...wanted]);
  const used = new Map<string, Set<number>>();
  for (const [place, key] of keys) {
    const windows = used.get(key) ?? new Set();
    used.set(key, new Set([...windows, ...(ledger.used[place] ?? [])]));
  }
  const theirs = [...wanted].flatMap(([place, key]) => {
    const windows = [...(used.get(key) ?? [])].sort((a, b) => a - b);
    return windows.length > 0 ? [[place, windows] as const] : [];
  });
  return {
    ...ledger,
    used: { ...ledger.used, ...Object.fromEntries(theirs) },
    keys: Object.fromEntries(keys),
  };
}

export function isUsed({ floor, used }: Ledger, place: string, window: number): boolean {
  return window <= floor || (used[place]?.includes(window) ?? false);
}

/** Writes down that windows were used, and forgets those of long ago. The floor rises to them. */
export function withUsed(
  ledger: Ledger,
  uses: readonly { readonly place: string; readonly window: number }[],
  now: number,
): Ledger {
  const used = new Map(Object.entries(ledger.used).map(([place, windows]) => [place, new Set(windows)]));
  for (const { place, window } of uses) {
    const windows = used.get(place) ?? new Set();
    used.set(place, windows.add(window));
  }
  const oldest = now - REMEMBERED;
  let { floor } = ledger;
  for (const windows of used.values())
    for (const window of windows) if (window <= oldest) floor = Math.max(floor, window);
  const kept = [...used].flatMap(([place, windows]) => {
    const young = [...windows].filter(window => window > oldest).sort((a, b) => a - b);
    return young.length > 0 ? [[place, young] as const] : [];
  });
  return { ...ledger, floor, used: Object.fromEntries(kept) };
}

/**
 * Adds uses that were heard of between two feeds. Only a feed sees whether the clock was set. So the time never goes back until
 * then, and nothing is forgotten by a clock that is ahead.
 */
export function withHeard(ledger: Ledger, uses: Parameters<typeof withUsed>[1], now: number): Ledger {
  const noted = withUsed(ledger, uses, windowAt(Math.min(now, ledger.time)));
  return { ...noted, time: Math.max(now, ledger.time) };
}
