import type { Family } from '../inet/family.ts';
import type { PortRange } from '../inet/port.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { DATATYPES, type Datatype } from '../nftables/datatype.ts';
import type { Element, SetWithElements } from '../nftables/ruleset.ts';
import type { Verdict } from '../nftables/verdict.ts';

export const ADDRESS = { ipv4: DATATYPES.ipv4_addr, ipv6: DATATYPES.ipv6_addr } as const;

/** A set of clients that packets write, or a map with `data`. */
export function dynamicSet(name: string, family: Family, size: number, data?: Datatype): SetWithElements {
  return {
    name,
    types: [ADDRESS[family]],
    ...(data && { data }),
    size,
    dynamic: true,
    timeout: true,
    interval: false,
    elements: [],
  };
}

/** One element for each port of each range. A hash look-up costs the same for one port as for all, and less than a range. */
export function portElements(ranges: readonly PortRange[], verdict: Verdict): Element[] {
  return ranges.flatMap(({ protocol, first, last }) =>
    Array.from({ length: last - first + 1 }, (_, index) => portElement(protocol, first + index, verdict)),
  );
}

export function portElement(protocol: Protocol, port: number, verdict: Verdict): Element {
  const key = Buffer.alloc(8);
  putPort(key, 0, protocol, port);
  return { key, data: verdict };
}

/** Protocol and port as in a concatenation: each is padded to four bytes. There may be tens of thousands, so this makes no buffer. */
export function putPort(key: Buffer, at: number, protocol: Protocol, port: number): void {
  key[at] = IPPROTO[protocol];
  key[at + 4] = port >>> 8;
  key[at + 5] = port;
}
