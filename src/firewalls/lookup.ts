import { splitKey } from '../nftables/datatype.ts';
import type { Element } from '../nftables/ruleset.ts';
import { type Bits, isSure, type Match, mayBe, NO, UNKNOWN, UNLIKELY, YES } from './bits.ts';
import type { ForeignSet } from './table.ts';

/** The elements of a set or a map for a key. */
export interface Found {
  readonly match: Match;
  /** The element that matches the likely key. */
  readonly likely: Element | undefined;
  /** All elements that may match such a key. */
  readonly possible: readonly Element[];
}

/** Looks up the key that `read` gives for a size in bytes. We assume that a set that was not read holds no given key. */
export function find(set: ForeignSet | undefined, read: (size: number) => Bits): Found {
  if (!set) return { match: UNKNOWN, likely: undefined, possible: [] };
  if (!set.elements) return { match: UNLIKELY, likely: undefined, possible: [] };
  const entries = entriesOf(set, set.elements);
  if (!entries) return { match: UNKNOWN, likely: undefined, possible: set.elements };
  const size = set.elements.find(({ all }) => !all)?.key.length ?? 0;
  const key = read(size);
  const rest = set.elements.filter(({ all }) => all);
  const named = entries.filter(entry => entry.mayHold(key));
  const sure = isSure(key);
  const holds = key.vague ? undefined : entries.find(entry => entry.holds(key.likely));
  // `*` stands for all keys without an element
  const possible = [...named.map(({ element }) => element), ...(sure && holds ? [] : rest)];
  if (possible.length === 0) return { match: NO, likely: undefined, possible };
  if (key.vague) return { match: rest.length > 0 ? YES : UNKNOWN, likely: undefined, possible };
  const likely = holds?.element ?? rest[0];
  return { match: { likely: likely !== undefined, sure: sure || rest.length > 0 }, likely, possible };
}

interface Entry {
  readonly element: Element;
  readonly holds: (key: Buffer) => boolean;
  readonly mayHold: (key: Bits) => boolean;
}

/** The keys of a set, or ranges of them; undefined for ranges of fields of unknown sizes. */
function entriesOf(set: ForeignSet, elements: readonly Element[]): Entry[] | undefined {
  const named = elements.filter(({ all }) => !all);
  if (named.some(({ last }) => last))
    return set.types.length > 0 ? named.map(it => fields(set, it)) : undefined;
  return set.interval ? ranges(named) : named.map(exact);
}

function exact(element: Element): Entry {
  return {
    element,
    holds: key => key.equals(element.key),
    mayHold: key => mayBe(key, element.key),
  };
}

/** The kernel keeps the start of each range, and the first key after it, in no order that it promises. */
function ranges(points: readonly Element[]): Entry[] {
  const sorted = points.toSorted(
    (a, b) => Buffer.compare(a.key, b.key) || Number(a.end ?? false) - Number(b.end ?? false),
  );
  return sorted.flatMap((element, index): Entry[] => {
    if (element.end) return [];
    const next = sorted.slice(index + 1).find(({ key }) => Buffer.compare(key, element.key) > 0);
    const holds = (key: Buffer) =>
      Buffer.compare(key, element.key) >= 0 && (!next || Buffer.compare(key, next.key) < 0);
    return [{ element, holds, mayHold: key => !isSure(key) || holds(key.likely) }];
  });
}

function fields({ types }: ForeignSet, element: Element): Entry {
  const first = splitKey(types, element.key);
  const last = splitKey(types, element.last ?? element.key);
  const within = (part: Buffer, index: number) =>
    Buffer.compare(part, first[index] ?? part) >= 0 && Buffer.compare(part, last[index] ?? part) <= 0;
  return {
    element,
    holds: key => splitKey(types, key).every(within),
    mayHold: key => {
      const sure = splitKey(types, key.sure);
      return splitKey(types, key.likely).every(
        (part, index) => within(part, index) || !sure[index]?.every(byte => byte === 0xff),
      );
    },
  };
}
