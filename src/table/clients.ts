import type { Family } from '../config/types.ts';
import type { monotonic } from '../host/clock.ts';
import type { Element } from '../nftables/element.ts';
import { byName, type Ruleset } from '../nftables/ruleset.ts';
import { host32 } from '../ruleset/match.ts';
import { FAMILIES, names } from '../ruleset/names.ts';
import { openingTime, servicePorts, usesUp } from '../ruleset/program.ts';

/** The comment on elements that a grant made; `nft list ruleset` shows it. */
export const GRANTED = 'granted';

/** A client that is in, as it is remembered in case that its table is removed. Plain data, for other threads too. */
export interface KnownClient {
  readonly service: string;
  readonly family: Family;
  /** Its address or network: 4 or 16 bytes. */
  readonly key: Uint8Array;
  /** The sequence that let it in, for services that tell them apart. */
  readonly place: number | null;
  /** How long it was let in for, in milliseconds; null for good. */
  readonly timeout: number | null;
  /** When that ends, in milliseconds as {@link monotonic} counts them. */
  readonly until: number | null;
  /** Let in by hand: with `grant`, or for another time than a knock is. */
  readonly granted: boolean;
}

/** Tells clients apart. */
export function clientId({ service, family, key }: Pick<KnownClient, 'service' | 'family' | 'key'>): string {
  return `${service} ${family} ${Buffer.from(key).toString('hex')}`;
}

/** When it was let in; 0 where that cannot be known. */
export function openedAt({ until, timeout }: KnownClient): number {
  return until === null || timeout === null ? 0 : until - timeout;
}

/**
 * Who is in, from a table with its state. Openings for single use are left out: whether one was used up in the meantime
 * cannot be known, so it is not given back.
 */
export function knownClients(ruleset: Ruleset, now: number): KnownClient[] {
  const sets = byName(ruleset.sets);
  const chains = byName(ruleset.chains);
  const elements = (name: string) => sets.get(name)?.elements ?? [];
  const services = [...servicePorts(ruleset).keys()].filter(
    service => !usesUp(chains.get(names.guard(service))),
  );
  return services.flatMap(service => {
    const openFor = openingTime(chains.get(names.open(service)), service);
    return FAMILIES.flatMap(family => {
      const places = new Map(
        elements(names.users(service, family)).map(({ key, data }) => [
          key.toString('hex'),
          Buffer.isBuffer(data) ? data.readUInt32LE(0) : null,
        ]),
      );
      return elements(names.clients(service, family))
        .filter(({ all }) => !all)
        .map(({ key, timeout, expires, comment }) => ({
          service,
          family,
          key: new Uint8Array(key),
          place: places.get(key.toString('hex')) ?? null,
          timeout: timeout ?? null,
          until: expires === undefined ? null : now + expires,
          granted: comment === GRANTED || timeout !== openFor,
        }));
    });
  });
}

/** What the sets of a table that has to be made again get of the clients that are still in. */
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
