import { bad, good, type Outcome } from './outcome.ts';
import { nameKind, type Report } from './report.ts';
import { list, type Placed, type Shape } from './shape.ts';
import type { Node } from './syntax.ts';
import type { Port, PortRange, Protocol } from './types.ts';

const WRITTEN = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?\/(tcp|udp)$/;
const HIGHEST = 65535;
const MAX_KNOCKS = 32;

const ONE = 'a number from 1 to 65535 (TCP), "N/tcp" or "N/udp"';
const RANGE = `${ONE}, or a range such as "6000-6010/tcp"`;

/** 1 to 65535, for JSON Schema. */
const NUMBER_PATTERN =
  '([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';

/** Reads `22`, `"22/tcp"`, `"53/udp"`. */
export function readPort(written: number | string): Outcome<Port> {
  const outcome = readPortRange(written);
  if (!outcome.ok) return bad(outcome.wrong, ONE);
  if (typeof written === 'string' && written.includes('-')) return bad('is a range', ONE);
  return good({ protocol: outcome.value.protocol, port: outcome.value.first });
}

/** Like {@link readPort}, and also reads `"6000-6010/tcp"`. */
export function readPortRange(written: number | string): Outcome<PortRange> {
  if (typeof written === 'number') return fromNumber(written);
  const parts = WRITTEN.exec(written);
  if (parts === null) return bad(/^\d+(-\d+)?$/.test(written) ? 'names no protocol' : 'is no port', RANGE);
  const first = Number(parts[1]);
  const last = Number(parts[2] ?? parts[1]);
  if (first > HIGHEST || last > HIGHEST) return bad('is no port', RANGE);
  if (first > last) return bad('is a range whose end comes before its beginning', RANGE);
  return good({ protocol: parts[3] === 'udp' ? 'udp' : 'tcp', first, last });
}

/** `22/tcp` */
export function formatPort({ protocol, port }: Port): string {
  return `${port}/${protocol}`;
}

export function formatPortRange({ protocol, first, last }: PortRange): string {
  return first === last ? `${first}/${protocol}` : `${first}-${last}/${protocol}`;
}

export function overlap(a: PortRange, b: PortRange): boolean {
  return a.protocol === b.protocol && a.first <= b.last && b.first <= a.last;
}

/** The same ports in as few ranges as possible, TCP first, in order. */
export function mergePortRanges(ranges: readonly PortRange[]): readonly PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted(comparePortRanges)) {
    const before = merged.at(-1);
    if (before?.protocol === range.protocol && range.first <= before.last + 1) {
      merged[merged.length - 1] = { ...before, last: Math.max(before.last, range.last) };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

const portRange: Shape<Placed<PortRange>> = {
  schema: {
    anyOf: [
      { type: 'integer', minimum: 1, maximum: HIGHEST },
      { type: 'string', pattern: `^${NUMBER_PATTERN}(-${NUMBER_PATTERN})?/(tcp|udp)$` },
    ],
  },
  read(node, report, where) {
    const written = node.kind === 'number' || node.kind === 'string';
    const value = report.outcome(node, where, written ? readPortRange(node.value) : bad('is no port', RANGE));
    return value && { at: node.at, value };
  },
};

/** One port of that protocol. */
export function portOf(protocol: Protocol): Shape<Placed<Port>> {
  const expected = `a port of ${protocol.toUpperCase()}, such as "${protocol === 'udp' ? 62201 : 80}/${protocol}"`;
  return {
    schema: {
      anyOf: [
        ...(protocol === 'tcp' ? [{ type: 'integer', minimum: 1, maximum: HIGHEST }] : []),
        { type: 'string', pattern: `^${NUMBER_PATTERN}/${protocol}$` },
      ],
    },
    read(node, report, where) {
      const written = node.kind === 'number' || node.kind === 'string';
      const outcome = written ? readPort(node.value) : bad('is no port', expected);
      const fits = outcome.ok && outcome.value.protocol === protocol;
      const value = report.outcome(node, where, fits ? outcome : bad('is no such port', expected));
      return value && { at: node.at, value };
    },
  };
}

/** Guarded or public ports. */
export function portRanges(least: 0 | 1): Shape<readonly Placed<PortRange>[]> {
  return list(portRange, { least, of: 'ports' });
}

/** A sequence; undefined in place of a wrong knock. */
export type Knocks = readonly (Placed<Port> | undefined)[];

/** Its messages name the position of a knock, never its port, because that is the secret. */
export const knocks: Shape<Placed<Knocks>> = {
  schema: {
    type: 'array',
    minItems: 1,
    maxItems: MAX_KNOCKS,
    items: {
      anyOf: [
        { type: 'integer', minimum: 1, maximum: HIGHEST },
        { type: 'string', pattern: `^${NUMBER_PATTERN}/(tcp|udp)$` },
      ],
    },
  },
  read(node, report, where) {
    const expected = `an array of 1 to ${MAX_KNOCKS} knocks, such as [10000, "2345/udp"]`;
    if (node.kind !== 'array') return report.wrong(node.at, where, `this is ${nameKind(node)}`, expected);
    const count = node.items.length;
    if (count === 0) return report.wrong(node.at, where, 'the array is empty', expected);
    if (count > MAX_KNOCKS) return report.wrong(node.at, where, `the array has ${count} knocks`, expected);
    const value = node.items.map((item, index) => readKnock(item, index, report, where));
    return { at: node.at, value };
  },
};

function readKnock(node: Node, index: number, report: Report, where: string): Placed<Port> | undefined {
  const written = node.kind === 'number' || node.kind === 'string';
  const outcome = written ? readPort(node.value) : bad('is no port', ONE);
  if (outcome.ok) return { at: node.at, value: outcome.value };
  return report.wrong(node.at, where, `knock ${index + 1} ${outcome.wrong}`, outcome.expected);
}

function fromNumber(port: number): Outcome<PortRange> {
  if (!Number.isInteger(port) || port < 1 || port > HIGHEST) return bad('is no port', RANGE);
  return good({ protocol: 'tcp', first: port, last: port });
}

function comparePortRanges(a: PortRange, b: PortRange): number {
  return compareProtocols(a.protocol, b.protocol) || a.first - b.first || a.last - b.last;
}

function compareProtocols(a: Protocol, b: Protocol): number {
  return Number(a === 'udp') - Number(b === 'udp');
}
