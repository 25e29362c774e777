import { NFT_CT, NFTA_CT } from '../nftables/expressions/ct.ts';
import { type Register, VERDICT } from '../nftables/register.ts';
import type { Rule } from '../nftables/ruleset.ts';
import { Fields } from './fields.ts';
import type { ForeignTable } from './table.ts';

export interface PortClasses {
  /** The number of a port's class. */
  readonly of: (port: number) => number;
  /** Where the class changes: the first port of each range of ports that have one class. */
  readonly firsts: readonly number[];
}

/**
 * Sorts ports into classes, such that no rule of these tables treats two ports of a class differently. There may be thousands
 * of ports to ask about, and thousands of rules.
 *
 * A rule can only tell ports apart by numbers that stand in it or in a set, or by some of their bits. We need not know which
 * bytes are ports: too many numbers make more classes, but no mistake.
 */
export function portClasses(tables: readonly ForeignTable[]): PortClasses {
  const rules = tables.flatMap(({ chains }) => [...chains.values()].flatMap(chain => chain.rules));
  const limits = new Uint8Array(0x10001);
  const note = (bytes: Uint8Array): void => {
    for (let at = 0; at + 1 < bytes.length; at++) {
      const [a = 0, b = 0] = [bytes[at], bytes[at + 1]];
      for (const number of [(a << 8) | b, (b << 8) | a]) {
        limits[number] = 1;
        limits[number + 1] = 1;
      }
    }
  };
  for (const { expressions } of rules)
    for (const expression of expressions) {
      if (expression.kind === 'cmp') note(expression.value);
      else if (expression.kind === 'unknown') note(expression.raw);
    }
  for (const { sets } of tables)
    for (const { elements = [] } of sets.values())
      for (const { key, last } of elements) {
        note(key);
        if (last) note(last);
      }
  const classes = new Uint32Array(0x10000);
  for (let port = 1, count = 0; port < classes.length; port++) {
    if (limits[port]) count++;
    classes[port] = count;
  }
  for (const mask of new Set(rules.flatMap(masksOfPorts))) {
    const numbers = new Map<number, number>();
    for (const [port, before] of classes.entries()) {
      const parts = before * 0x10000 + (port & mask);
      const number = numbers.get(parts) ?? numbers.size;
      numbers.set(parts, number);
      classes[port] = number;
    }
  }
  const firsts: number[] = [];
  for (let port = 1; port < classes.length; port++)
    if (port === 1 || classes[port] !== classes[port - 1]) firsts.push(port);
  return { of: port => classes[port] ?? 0, firsts };
}

const EACH_BIT = 0xffff;
/** The byte at which the port of the destination begins, from each header on: behind that of IPv4 or IPv6. */
const PORT_AT = { transport: [2], network: [22, 42] } as const;

/** The bits of a port that a rule may look at, if these are not all. */
function masksOfPorts({ expressions }: Rule): number[] {
  /** The registers that hold a port, and the byte at which it begins there. */
  const loaded = new Map<number, number>();
  const masks: number[] = [];
  for (const it of expressions) {
    if (it.kind === 'bitwise')
      for (const [register, at] of loaded) {
        const mask = bitsAt(it.mask, (register - it.sreg) * 4 + at);
        if (mask !== EACH_BIT) masks.push(mask);
      }
    else if (it.kind === 'unknown') {
      const copy = it.name === 'ct' ? portOfConnection(it.raw) : undefined;
      if (copy !== undefined) loaded.set(copy, 0);
      // these may turn or shift them
      else if (TURNS.has(it.name) && loaded.size > 0) masks.push(EACH_BIT);
    } else if ('dreg' in it && it.dreg !== undefined && it.dreg !== VERDICT) {
      loaded.delete(it.dreg);
      if (it.kind !== 'payload' || !(it.base === 'transport' || it.base === 'network')) continue;
      for (const port of PORT_AT[it.base]) {
        const [high = 0, low = 0] = [port, port + 1].map(byte =>
          Number(it.offset <= byte && byte < it.offset + it.length),
        );
        if (high && low) loaded.set(it.dreg, port - it.offset);
        else if (high || low) masks.push(high ? 0xff00 : 0x00ff);
      }
    }
  }
  return masks;
}

const TURNS: ReadonlySet<string> = new Set(['bitwise', 'byteorder']);

/** The register into which `ct original proto-dst` loads the port that a connection began with. */
function portOfConnection(raw: Buffer): Register | undefined {
  const fields = new Fields(raw);
  const loads = fields.has(NFTA_CT.DREG) && fields.number(NFTA_CT.KEY) === NFT_CT.PROTO_DST;
  return loads ? fields.register(NFTA_CT.DREG) : undefined;
}

/** The two bytes of a mask at `at`, as a number; 0 where there are none. */
function bitsAt(mask: Uint8Array, at: number): number {
  return ((mask[at] ?? 0) << 8) | (mask[at + 1] ?? 0);
}
