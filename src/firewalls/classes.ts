import type { Expression } from '../nftables/expression.ts';
import type { Rule } from '../nftables/ruleset.ts';
import type { ForeignTable } from './table.ts';

export interface PortClasses {
  /** The number of a port's class. */
  readonly of: (port: number) => number;
  /** The first port of each class; empty if each port is a class of its own. */
  readonly firsts: readonly number[];
}

/**
 * Sorts ports into classes, such that no rule of these tables treats two ports of a class differently. There may be thousands
 * of ports to ask about, and thousands of rules.
 *
 * A rule can only tell ports apart by numbers that stand in it or in a set. We need not know which bytes are ports: too many
 * numbers make more classes, but no mistake.
 */
export function portClasses(tables: readonly ForeignTable[]): PortClasses {
  const rules = tables.flatMap(({ chains }) => [...chains.values()].flatMap(chain => chain.rules));
  if (rules.some(masksPorts)) return { of: port => port, firsts: [] };
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
  const firsts = [1];
  for (let port = 1; port < classes.length; port++) {
    if (port > 1 && limits[port]) firsts.push(port);
    classes[port] = firsts.length;
  }
  return { of: port => classes[port] ?? 0, firsts };
}

/** Whether a rule may look at some bits of a port. Then any two ports may differ. */
function masksPorts({ expressions }: Rule): boolean {
  const loaded = expressions.some(
    it => it.kind === 'payload' && it.base === 'transport' && it.offset < 4 && it.offset + it.length > 2,
  );
  return loaded && expressions.some(mixesBits);
}

function mixesBits(expression: Expression): boolean {
  if (expression.kind === 'bitwise') return expression.mask.some(byte => byte !== 0 && byte !== 0xff);
  return expression.kind === 'unknown' && expression.name === 'bitwise';
}
