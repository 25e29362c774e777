import { CLOSE, type Effect, type Opening, opening, type PortNames, unknown } from '../effect.ts';

/** A command of nft, without the program. */
export function readNft(words: readonly string[], names: PortNames): Effect {
  const text = words
    .filter(word => !/^-/.test(word))
    .join(' ')
    .replace(/\s+/g, ' ');
  const [, verb = '', object = '', rest = ''] = /^(\w+) (\w+) ?(.*)$/.exec(text) ?? [];
  if (verb === 'delete') return CLOSE;
  if (object === 'element')
    return unknown('adds to a set, whose ports stand elsewhere: write a service with "ports" for them');
  if (object !== 'rule' || (verb !== 'add' && verb !== 'insert'))
    return unknown('is no rule that lets somebody in');
  const [rule = ''] = rest.split(/(?: comment |#)/);
  if (/\b(dnat|redirect|masquerade|snat)\b/.test(rule))
    return unknown('redirects: that stays with your firewall');
  if (/\b(drop|reject)\b/.test(rule)) return CLOSE;
  if (!/\baccept\b/.test(rule)) return unknown('is no rule that lets somebody in');
  return readRule(rule, names);
}

function readRule(rule: string, names: PortNames): Effect {
  const matches = [...rule.matchAll(/\b(tcp|udp|th) dport (\{[^}]*\}|\S+)/g)];
  const [, from] = /\bip6? saddr (\S+)/.exec(rule) ?? [];
  const conditions = [...rule.matchAll(/\b(?:iifname|iif|ip6? daddr) (?:\{[^}]*\}|\S+)/g)].map(([it]) => it);
  if (matches.length === 0) return opening({ from, conditions }, names);
  const effects = matches.map(([, protocol, ports = '']) =>
    opening(
      {
        protocol: protocol === 'th' ? undefined : protocol,
        ports: ports.replace(/[{} ]/g, ''),
        from,
        conditions,
      },
      names,
    ),
  );
  return effects.find(({ does }) => does === 'unknown') ?? merged(effects.filter(it => it.does === 'open'));
}

function merged(openings: readonly Opening[]): Opening {
  return {
    does: 'open',
    ports: openings.flatMap(({ ports }) => ports),
    notes: [...new Set(openings.flatMap(({ notes }) => notes))],
  };
}
