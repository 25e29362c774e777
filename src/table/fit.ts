import type { Element } from '../nftables/ruleset.ts';

/** Elements that a set of state has no room for. */
export interface Dropped {
  readonly set: string;
  readonly count: number;
}

export function droppedText({ set, count }: Dropped): string {
  return `set ${set} has no room for all: the ${count} with the least time left are dropped; "limits" says how many fit`;
}

/** The sources of the elements of a set of state. */
interface Sources {
  /** From the set that it replaces. */
  readonly carried: readonly Element[];
  /** The networks of clients that are in, if a client is now less of an address than before. */
  readonly widened: readonly Element[];
  /** Other elements that belong to it from now on. */
  readonly added: readonly Element[];
  /** Elements that count only if none of the others has the key. */
  readonly remembered: readonly Element[];
}

/**
 * Chooses the elements that a set of state gets, so that it is never too full to be loaded. `there` is the number of elements
 * that stay in the set; undefined for a new set. If networks do not fit beside the addresses that they stand for, the
 * addresses have to go (`flush`).
 */
export function chooseElements(
  { carried, widened, added, remembered }: Sources,
  size: number,
  there: number | undefined,
): { readonly flush: boolean; readonly elements: readonly Element[]; readonly dropped: number } {
  const all = fit([[...carried, ...widened, ...added], remembered], size - (there ?? 0));
  if (all.dropped === 0 || widened.length === 0) return { flush: false, ...all };
  return { flush: there !== undefined, ...fit([[...widened, ...added], remembered], size) };
}

/**
 * For each key, takes the first of `sources` that has it, and from that the element that lives longest. If these are more
 * than `room`, keeps those that live longest.
 */
export function fit(
  sources: readonly (readonly Element[])[],
  room: number,
): { readonly elements: readonly Element[]; readonly dropped: number } {
  const chosen = new Map<string, Element>();
  for (const source of sources.filter(({ length }) => length > 0)) {
    const settled = new Set(chosen.keys());
    for (const element of source) {
      const key = element.all ? '*' : element.key.toString('latin1');
      const there = chosen.get(key);
      if (!there || (!settled.has(key) && left(element) > left(there))) chosen.set(key, element);
    }
  }
  const elements = [...chosen.values()];
  if (elements.length <= room) return { elements, dropped: 0 };
  const longest = elements.toSorted((a, b) => left(b) - left(a) || Buffer.compare(a.key, b.key));
  const fitting = longest.slice(0, Math.max(0, room));
  return { elements: fitting, dropped: elements.length - fitting.length };
}

function left({ timeout, expires }: Element): number {
  return expires ?? timeout ?? Number.MAX_SAFE_INTEGER;
}

/** Elements that were read `age` milliseconds ago, without those that expired since. */
export function older(elements: readonly Element[], age: number): readonly Element[] {
  return elements.flatMap(element => {
    if (element.expires === undefined) return [element];
    const expires = element.expires - age;
    return expires > 0 ? [{ ...element, expires }] : [];
  });
}
