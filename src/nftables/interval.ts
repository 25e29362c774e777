import { keyText } from './datatype.ts';
import type { Element, SetWithElements } from './ruleset.ts';

/**
 * The kernel keeps a set of ranges as a list of points: the start of each range, and the first key after it. nft also puts an
 * end at the very first key, unless a range starts there.
 */

/** The elements of disjoint prefixes, sorted, none next to the other. `length` counts bits of `address`. */
export function prefixElements(
  prefixes: readonly { readonly address: Uint8Array; readonly length: number }[],
): Element[] {
  const elements: Element[] = [];
  for (const { address, length } of prefixes) {
    const start = Buffer.from(address);
    const end = after(start, length);
    if (elements.length === 0 && start.some(byte => byte !== 0))
      elements.push({ key: Buffer.alloc(start.length), end: true });
    elements.push({ key: start, ...(end === undefined && { open: true }) });
    if (end) elements.push({ key: end, end: true });
  }
  return elements;
}

/** The first address after the prefix; undefined if the prefix holds the last one. */
function after(address: Buffer, length: number): Buffer | undefined {
  const bits = address.length * 8;
  const next = (number(address) + (1n << BigInt(bits - length))) & ((1n << BigInt(bits)) - 1n);
  return next === 0n ? undefined : Buffer.from(next.toString(16).padStart(bits / 4, '0'), 'hex');
}

/** The ranges of an interval set as nft writes them: `10.0.0.0/8`, `192.0.2.7`, `192.0.2.1-192.0.2.6`. */
export function intervalTexts(set: Pick<SetWithElements, 'types' | 'elements'>): string[] {
  return set.elements.flatMap((element, index) => {
    if (element.end) return [];
    const next = set.elements[index + 1];
    const last = next ? keyBefore(next.key) : Buffer.alloc(element.key.length, 0xff);
    const first = keyText(set.types, element.key);
    if (last.equals(element.key)) return [first];
    const length = prefixLength(element.key, last);
    return [length === undefined ? `${first}-${keyText(set.types, last)}` : `${first}/${length}`];
  });
}

/** The length of the prefix that holds the addresses from `first` to `last` and no others; undefined if there is none. */
function prefixLength(first: Buffer, last: Buffer): number | undefined {
  const [start, end] = [number(first), number(last)];
  const host = start ^ end; // for a prefix, all ones from some bit on, and zeros there in the first address
  if ((host & (host + 1n)) !== 0n || (start & host) !== 0n) return undefined;
  return first.length * 8 - (host === 0n ? 0 : host.toString(2).length);
}

const number = (key: Buffer) => BigInt(`0x${key.toString('hex')}`);

/** The key just before this one. */
export function keyBefore(key: Buffer): Buffer {
  return Buffer.from((number(key) - 1n).toString(16).padStart(key.length * 2, '0'), 'hex');
}

/** Whether one of the ranges contains the address. The elements may be in any order. */
export function inIntervals({ elements }: SetWithElements, address: Buffer): boolean {
  let nearest: Element | undefined;
  for (const element of elements) {
    if (Buffer.compare(element.key, address) > 0) continue;
    const order = nearest ? Buffer.compare(element.key, nearest.key) : 1;
    // if two ranges touch, the end of one is the start of the other
    if (order > 0 || (order === 0 && !element.end)) nearest = element;
  }
  return nearest !== undefined && !nearest.end;
}
