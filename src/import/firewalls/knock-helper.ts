import { parseArgs } from 'node:util';
import { CLOSE, type Effect, opening, type PortNames, unknown } from '../effect.ts';

const text = (short: string) => ({ type: 'string', short }) as const;
const flag = (short: string) => ({ type: 'boolean', short }) as const;

/** The script that comes with knockd, as `knock_add` in its example: `-i -c INPUT -p tcp -d 443 -f %IP%`. */
export function readKnockHelper(words: readonly string[], names: PortNames): Effect {
  const { values } = parseArgs({
    args: [...words],
    options: {
      ...{ append: flag('a'), insert: flag('i'), delete: flag('x') },
      ...{ srcaddr: text('f'), dstport: text('d'), proto: text('p'), chain: text('c'), comment: text('m') },
    },
    strict: false,
  });
  if (values.delete) return CLOSE;
  if (!values.append && !values.insert) return unknown('neither adds nor deletes a rule');
  const { proto = 'tcp', dstport, srcaddr } = values;
  const written = (value: string | boolean | undefined) => (typeof value === 'string' ? value : undefined);
  return opening(
    { protocol: written(proto), ports: written(dstport), from: written(srcaddr), conditions: [] },
    names,
  );
}
