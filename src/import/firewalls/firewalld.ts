import { CLOSE, type Effect, NOTHING, type Opening, opening, type PortNames, unknown } from '../effect.ts';
import { readIptables } from './iptables.ts';

type Options = readonly (readonly [name: string, value: string])[];

/** Options that only say how the command does its work. */
const USUAL: ReadonlySet<string> = new Set([
  ...['permanent', 'quiet', 'q', 'reload', 'complete-reload', 'runtime-to-permanent', 'timeout'],
]);

const TAKES_WORD =
  /^(add|remove|query|set|change|new|delete)-|^(zone|policy|timeout|ipset|service|helper|icmptype)$/;

/** A command of firewall-cmd(1), without the program. */
export function readFirewalld(words: readonly string[], names: PortNames): readonly Effect[] {
  const direct = words.findIndex(it => it === '--add-rule' || it === '--passthrough');
  if (words.includes('--direct') && direct >= 0) return [readDirect(words.slice(direct), names)];
  const options = readOptions(words);
  if (typeof options === 'string') return [unknown(`has "${options}", which cannot be read`)];
  if (options.some(([name]) => name.startsWith('remove-'))) return [CLOSE];
  const additions = options.filter(([name]) => name.startsWith('add-'));
  if (additions.length === 0)
    return options.some(([name]) => name.endsWith('reload'))
      ? [NOTHING]
      : [unknown('adds no port, no service and no rule')];
  const conditions = options
    .filter(([name]) => !name.startsWith('add-') && !USUAL.has(name))
    .map(([name, value]) => `--${name} ${value}`.trim());
  const written = options.find(([name]) => name === 'timeout')?.[1];
  const time = readTime(written);
  if (written !== undefined && time === undefined) conditions.push(`--timeout ${written}`);
  return additions.map(addition => {
    const effect = readAddition(addition, conditions, names);
    return effect.does === 'open' && time !== undefined ? { ...effect, time } : effect;
  });
}

/** Reads `--add-rule ipv4 filter INPUT 0 …` and `--passthrough ipv4 …`. The rest is for iptables. */
function readDirect([verb, , ...words]: readonly string[], names: PortNames): Effect {
  if (verb === '--passthrough') return readIptables(words, names);
  const [table = '', chain = '', , ...rule] = words;
  return readIptables(['-t', table, '-A', chain, ...rule], names);
}

function readAddition(
  [name, value]: Options[number],
  conditions: readonly string[],
  names: PortNames,
): Effect {
  switch (name) {
    case 'add-rich-rule':
      return readRule(value, conditions, names);
    case 'add-port': {
      const [ports, protocol] = value.split('/');
      return opening({ protocol, ports, conditions }, names);
    }
    case 'add-service':
      return opening({ protocol: 'tcp', ports: value, conditions }, names);
    case 'add-source':
      return unknown(
        `gives ${value} a zone, which has its ports elsewhere: write a service with "ports" for them`,
      );
    default:
      return unknown(`has --${name} ${value}, which cannot be read`);
  }
}

/** Reads `rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept`, with attributes in any order. */
function readRule(rule: string, conditions: readonly string[], names: PortNames): Effect {
  const elements = new Map<string, Map<string, string>>();
  const flags: string[] = [];
  let element = 'rule';
  let verdict: string | undefined;
  for (const [word, key, value = ''] of rule.matchAll(/([\w-]+)=["']?([^"'\s]*)["']?|\S+/g)) {
    if (key !== undefined) elements.set(element, (elements.get(element) ?? new Map()).set(key, value));
    else if (/^(accept|reject|drop|mark)$/.test(word)) {
      verdict = word;
      element = word;
    } else if (/^(rule|source|destination|service|port|log|audit|limit)$/i.test(word)) {
      element = word.toLowerCase() === 'not' ? element : word.toLowerCase();
    } else flags.push(word);
  }
  if (verdict !== 'accept') return verdict === undefined ? unknown('has a rule without an end') : CLOSE;
  if (flags.length > 0) return unknown(`has a rule with "${flags.join(' ')}", which cannot be read`);
  const take = (name: string, key: string): string | undefined => {
    const value = elements.get(name)?.get(key);
    elements.get(name)?.delete(key);
    return value;
  };
  take('rule', 'family');
  for (const silent of ['log', 'audit']) elements.delete(silent);
  const service = take('service', 'name');
  const match = {
    protocol: service === undefined ? take('port', 'protocol') : 'tcp',
    ports: service ?? take('port', 'port'),
    from: take('source', 'address'),
  };
  const left = [...elements].flatMap(([name, attributes]) =>
    [...attributes].map(([key, value]) => `${name} ${key} ${value}`),
  );
  return opening({ ...match, conditions: [...conditions, ...left] }, names);
}

/** The options, with '' for those without a value. If a word belongs to none, it returns that word instead. */
function readOptions(words: readonly string[]): Options | string {
  const options: [string, string][] = [];
  let open = false;
  for (const word of words) {
    const [, name, value] = /^--?([\w-]+)(?:=(.*))?$/s.exec(word) ?? [];
    const last = options.at(-1);
    if (name !== undefined) {
      options.push([name, value ?? '']);
      open = value === undefined && TAKES_WORD.test(name);
    } else if (open && last) {
      last[1] = word;
      open = false;
    } else return word;
  }
  return options;
}

/** Reads a time as milliseconds: a number of seconds, or a number with `s`, `m` or `h`. */
function readTime(text = ''): Opening['time'] {
  const [, number, unit = 's'] = /^(\d{1,9})([smh]?)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  return Number(number) * ({ m: 60_000, h: 3_600_000 }[unit] ?? 1000);
}
