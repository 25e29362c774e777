import { parseArgs } from 'node:util';
import { CLOSE, type Effect, opening, type PortNames, unknown } from '../effect.ts';
import { elsewhere } from './chain.ts';

const text = (short: string) => ({ type: 'string', short }) as const;
const flag = (short: string) => ({ type: 'boolean', short }) as const;
const OPTIONS = {
  ...{ append: flag('a'), insert: flag('i'), delete: flag('x'), verbose: flag('v') },
  ...{ srcaddr: text('f'), dstport: text('d'), proto: text('p'), chain: text('c'), comment: text('m') },
};

/** Reads a call of the script that comes with knockd, `knock_add` in its example: `-i -c INPUT -p tcp -d 443 -f %IP%`. */
export function readKnockHelper(words: readonly string[], names: PortNames): Effect {
  const { values, tokens } = parseArgs({ args: [...words], options: OPTIONS, strict: false, tokens: true });
  const strange = tokens.flatMap(it => {
    if (it.kind === 'positional') return [it.value];
    return it.kind === 'option' && !Object.hasOwn(OPTIONS, it.name)
      ? [it.rawName, ...(it.value === undefined ? [] : [it.value])]
      : [];
  });
  if (values.delete) return CLOSE;
  if (!values.append && !values.insert) return unknown('neither adds nor deletes a rule');
  const written = (value: string | boolean | undefined) => (typeof value === 'string' ? value : undefined);
  const away = elsewhere(written(values.chain) ?? 'INPUT');
  if (away) return away;
  if (strange.length > 0) return unknown(`has "${strange.join(' ')}", which cannot be read`);
  const { proto = 'tcp', dstport, srcaddr } = values;
  return opening(
    { protocol: written(proto), ports: written(dstport), from: written(srcaddr), conditions: [] },
    names,
  );
}
