import type { monotonic } from '../host/clock.ts';
import type { Family } from '../inet/family.ts';
import { byName, type Element, type Ruleset } from '../nftables/ruleset.ts';
import { clientsOf } from '../ruleset/client.ts';
import { host32 } from '../ruleset/match.ts';
import { names } from '../ruleset/names.ts';
import { decompile } from '../ruleset/program.ts';

/** The comment on elements that a grant made; `nft list ruleset` shows it. */
export const GRANTED = 'granted';

/** A client that is in, remembered in case its table is removed. It is plain data, so that other threads can take it. */
export interface KnownClient {
  readonly service: string;
  readonly family: Family;
  /** Its address or network: 4 or 16 bytes. */
  readonly key: Uint8Array;
  /** The place at the end of the sequence that let it in, for services that tell clients apart. */
  readonly place: number | null;
  /** How long the opening lasts in all, in milliseconds; null for no end. */
  readonly timeout: number | null;
  /** When the opening ends, in milliseconds as {@link monotonic} counts them; null for never. */
  readonly until: number | null;
  /** Let in by hand: with `grant`, or for another time than a knock gives. */
  readonly granted: boolean;
}

/** How far a remembered time may be from the kernel's, in milliseconds. */
export const SLACK = 1000;

/** A key that tells clients apart. */
export function clientId({ service, family, key }: Pick<KnownClient, 'service' | 'family' | 'key'>): string {
  return `${service} ${family} ${Buffer.from(key).toString('hex')}`;
}

/** When the client was let in; 0 if that cannot be known. */
export function openedAt({ until, timeout }: KnownClient): number {
  return until === null || timeout === null ? 0 : until - timeout;
}

/**
 * The clients that are in, from a table with its state. Openings for single use are left out: they may have been used up in
 * the meantime, so they are not given back.
 */
export function knownClients(ruleset: Ruleset, now: number): KnownClient[] {
  const sets = byName(ruleset.sets);
  return [...decompile(ruleset).services].flatMap(([service, { singleUse, openFor }]) =>
    singleUse
      ? []
      : clientsOf(sets, service)
          .filter(({ element }) => !element.all)
          .map(({ family, place, element: { key, timeout, expires, comment } }) => ({
            service,
            family,
            key: new Uint8Array(key),
            place,
            timeout: timeout ?? null,
            until: expires === undefined ? null : now + expires,
            granted: comment === GRANTED || timeout !== openFor,
          })),
  );
}

/**
 * Leaves out clients that came in at a place that leads nowhere any more: their user was removed, or has another secret or sequence.
 * A table that stays loses clients of former tokens at a load, so one that is made again does not get them back.
 */
export function withPlace(ruleset: Ruleset, clients: readonly KnownClient[]): readonly KnownClient[] {
  const places: ReadonlyMap<number, unknown> = decompile(ruleset).openings;
  return clients.filter(({ place }) => place === null || places.has(place));
}

/** The elements of clients that are still in, by set, for a table that has to be made again. */
export function clientElements(clients: readonly KnownClient[], now: number): Map<string, Element[]> {
  const sets = new Map<string, Element[]>();
  const add = (set: string, element: Element): void => {
    const list = sets.get(set);
    if (list) list.push(element);
    else sets.set(set, [element]);
  };
  for (const { service, family, key, place, timeout, until, granted } of clients) {
    const expires = until === null ? undefined : Math.round(until - now);
    if (expires !== undefined && expires <= 0) continue;
    const lifetime = expires === undefined ? {} : { timeout: Math.max(timeout ?? 0, expires), expires };
    const comment = granted ? { comment: GRANTED } : {};
    add(names.clients(service, family), { key: Buffer.from(key), ...lifetime, ...comment });
    if (place !== null)
      add(names.users(service, family), { key: Buffer.from(key), data: host32(place), ...lifetime });
  }
  return sets;
}
