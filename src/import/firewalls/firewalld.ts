import { CLOSE, type Effect, NOTHING, type Opening, opening, type PortNames, unknown } from '../effect.ts';

/** A command of firewall-cmd(1), without the program. */
export function readFirewalld(words: readonly string[], names: PortNames): Effect {
  const options = readOptions(words);
  if ([...options.keys()].some(name => name.startsWith('remove-'))) return CLOSE;
  if (options.has('add-source'))
    return unknown(
      'gives the client a zone, whose ports stand elsewhere: write a service with "ports" for them',
    );
  const effect = readAddition(options, names);
  const time = readTime(options.get('timeout'));
  return effect.does === 'open' && time !== undefined ? { ...effect, time } : effect;
}

function readAddition(options: ReadonlyMap<string, string>, names: PortNames): Effect {
  const rule = options.get('add-rich-rule');
  if (rule !== undefined) return readRule(rule, names);
  const port = options.get('add-port');
  if (port !== undefined) {
    const [ports, protocol] = port.split('/');
    return opening({ protocol, ports, conditions: [] }, names);
  }
  const service = options.get('add-service');
  if (service !== undefined) return opening({ protocol: 'tcp', ports: service, conditions: [] }, names);
  return options.has('reload') ? NOTHING : unknown('adds no port, no service and no rule');
}

/** `rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept` */
function readRule(rule: string, names: PortNames): Effect {
  if (!/\baccept\b/.test(rule)) return CLOSE;
  const value = (name: string) => new RegExp(`\\b${name}=["']?([^"' ]+)`).exec(rule)?.[1];
  const service = value('service name');
  const destination = value('destination address');
  return opening(
    {
      protocol: service === undefined ? value('protocol') : 'tcp',
      ports: service ?? value('port port'),
      from: value('source address'),
      conditions: destination === undefined ? [] : [`destination ${destination}`],
    },
    names,
  );
}

function readOptions(words: readonly string[]): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const [index, word] of words.entries()) {
    const [, name, value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? [];
    const next = words[index + 1] ?? '';
    if (name !== undefined) options.set(name, value ?? (next.startsWith('--') ? '' : next));
  }
  return options;
}

/** Milliseconds: a number of seconds, or with `s`, `m` or `h`. */
function readTime(text = ''): Opening['time'] {
  const [, number, unit = 's'] = /^(\d{1,9})([smh]?)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  return Number(number) * ({ m: 60_000, h: 3_600_000 }[unit] ?? 1000);
}
