import { bad } from '../inet/outcome.ts';
import {
  HIGHEST_PORT,
  ONE_PORT,
  PORT_RANGE,
  type Port,
  type PortRange,
  readPort,
  readPortRange,
} from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import { DEFAULT_PORT } from '../token/packet.ts';
import { nameKind, type Report } from './report.ts';
import { list, type Placed, type Shape } from './shape.ts';
import type { Node } from './syntax.ts';

const MAX_KNOCKS = 32;

/** 1 to 65535, for JSON Schema. */
const NUMBER_PATTERN =
  '([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';

const portRange: Shape<Placed<PortRange>> = {
  schema: {
    anyOf: [
      { type: 'integer', minimum: 1, maximum: HIGHEST_PORT },
      { type: 'string', pattern: `^${NUMBER_PATTERN}(-${NUMBER_PATTERN})?/(tcp|udp)$` },
    ],
  },
  read(node, report, where) {
    const written = node.kind === 'number' || node.kind === 'string';
    const value = report.outcome(
      node,
      where,
      written ? readPortRange(node.value) : bad('is no port', PORT_RANGE),
    );
    return value && { at: node.at, value };
  },
};

/** One port of that protocol. */
export function portOf(protocol: Protocol): Shape<Placed<Port>> {
  const expected = `a port of ${protocol.toUpperCase()}, such as "${protocol === 'udp' ? DEFAULT_PORT : 80}/${protocol}"`;
  return {
    schema: {
      anyOf: [
        ...(protocol === 'tcp' ? [{ type: 'integer', minimum: 1, maximum: HIGHEST_PORT }] : []),
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
export const portRanges: Shape<readonly Placed<PortRange>[]> = list(portRange, 'ports');

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
        { type: 'integer', minimum: 1, maximum: HIGHEST_PORT },
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
  const outcome = written ? readPort(node.value) : bad('is no port', ONE_PORT);
  if (outcome.ok) return { at: node.at, value: outcome.value };
  return report.wrong(node.at, where, `knock ${index + 1} ${outcome.wrong}`, outcome.expected);
}
