import { FAMILIES, type Family } from '../inet/family.ts';
import { formatNetwork } from '../inet/network.ts';
import type { Element, SetWithElements } from '../nftables/ruleset.ts';
import type { Place } from './automaton.ts';
import { names } from './names.ts';

/** A client as people read it: `192.0.2.7`, or `2001:db8::/64` if the first `length` bits of an address are one client. */
export function clientText(family: Family, key: Buffer, length: number): string {
  return formatNetwork({ family, address: key, length });
}

/** A client that is in, as the sets of its service have it. */
interface ClientElement {
  readonly family: Family;
  readonly element: Element;
  /** The place that let it in; null if the service does not tell clients apart, and for a client that was let in by hand. */
  readonly place: Place | null;
}

/** The clients that a service has let in, from its sets with their state. */
export function clientsOf(
  sets: ReadonlyMap<string, Pick<SetWithElements, 'elements'>>,
  service: string,
): ClientElement[] {
  const elements = (name: string) => sets.get(name)?.elements ?? [];
  return FAMILIES.flatMap(family => {
    const places = new Map(
      elements(names.users(service, family)).map(user => [user.key.toString('latin1'), placeOf(user)]),
    );
    return elements(names.clients(service, family)).map(element => {
      return { family, element, place: places.get(element.key.toString('latin1')) ?? null };
    });
  });
}

/** The place that an element of a map holds. */
export function placeOf({ data }: Element): Place | null {
  return Buffer.isBuffer(data) ? (data.readUInt32LE(0) as Place) : null;
}
