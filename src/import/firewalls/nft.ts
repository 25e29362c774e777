import { CLOSE, type Effect, type Match, NOTHING, opening, type PortNames, unknown } from '../effect.ts';
import { elsewhere } from './chain.ts';

/** Options that only say how the command prints. */
const USUAL = /^-([aesnjtySNTp]+|-handle|-echo|-stateless|-numeric|-json|-terse)$/;
const FAMILY = /^(ip|ip6|inet|arp|bridge|netdev)$/;

/** Reads the words of nft without the program. They may hold several commands. */
export function readNft(words: readonly string[], names: PortNames): readonly Effect[] {
  const options = words.filter(word => /^-/.test(word) && !USUAL.test(word));
  if (options.some(it => it === '-c' || it === '--check')) return [NOTHING];
  if (options.length > 0)
    return [
      unknown(`has ${options.join(' ')}, which cannot be read, so it is not a rule that lets clients in`),
    ];
  const text = words.filter(word => !/^-/.test(word)).join(' ');
  return text
    .replace(/#.*$/gm, '')
    .split(/[;\n]/)
    .map(it => it.trim())
    .filter(it => it !== '')
    .map(it => readStatement(it.match(/\{[^}]*\}|"[^"]*"|[^\s{}]+/g) ?? [], names));
}

function readStatement([verb = '', object = '', ...words]: readonly string[], names: PortNames): Effect {
  if (verb === 'delete') return CLOSE;
  if (object === 'element')
    return unknown('adds to a set, which has its ports elsewhere: write a service with "ports" for them');
  if (object !== 'rule' || (verb !== 'add' && verb !== 'insert'))
    return unknown('is not a rule that lets clients in');
  const [table, chain = '', ...rule] = FAMILY.test(words[0] ?? '') ? words.slice(1) : words;
  if (table === undefined) return unknown('is not a rule that lets clients in');
  if (/^(position|handle|index)$/.test(rule[0] ?? '')) rule.splice(0, 2);
  const comment = rule.indexOf('comment');
  return readRule(comment < 0 ? rule : rule.slice(0, comment), chain, names);
}

/** The first words of statements about the packet. */
const PROTOCOL = /^(meta l4proto|ip protocol|ip6 nexthdr)$/;
const DPORT = /^(tcp|udp|th) dport$/;

function readRule(rule: readonly string[], chain: string, names: PortNames): Effect {
  const ends = rule.filter(it => /^(accept|drop|reject|dnat|snat|redirect|masquerade)$/.test(it));
  if (ends.some(it => /^(dnat|snat|redirect|masquerade)$/.test(it)))
    return unknown('redirects: that stays with your firewall');
  if (ends.length > 0 && !ends.includes('accept')) return CLOSE;
  if (ends.length === 0) return unknown('is not a rule that lets clients in');
  const away = elsewhere(chain);
  if (away) return away;
  if (rule.includes('!=')) return unknown('has a condition with "!=", which cannot be read');
  const ports: { protocol: string; ports: string }[] = [];
  const conditions: string[] = [];
  let protocol: Match['protocol'];
  let from: string | undefined;
  for (let index = 0; index < rule.length; ) {
    const two = rule.slice(index, index + 2).join(' ');
    const value = rule[index + 2] ?? '';
    const [, header = ''] = DPORT.exec(two) ?? [];
    if (header !== '') ports.push({ protocol: header, ports: value.replace(/[{} ]/g, '') });
    else if (/^ip6? saddr$/.test(two)) from = value;
    else if (PROTOCOL.test(two)) protocol = value.replace(/[{} ]/g, '');
    else if (two === 'ct state' && /\bnew\b/.test(value)) {
      // new connections meet this condition
    } else if (rule[index] === 'accept') {
      index += 1;
      continue;
    } else if (rule[index] === 'counter') {
      index += rule[index + 1] === 'packets' ? 5 : 1;
      continue;
    } else {
      const next = rule.findIndex((_, at) => at > index && begins(rule, at));
      const end = next < 0 ? rule.length : next;
      conditions.push(rule.slice(index, end).join(' '));
      index = end;
      continue;
    }
    index += 3;
  }
  const only = protocol === 'tcp' || protocol === 'udp' ? protocol : undefined;
  const all = ports.length === 0 ? [{ protocol: 'th', ports: undefined }] : ports;
  const effects = all.map(it =>
    opening(
      { protocol: it.protocol === 'th' ? only : it.protocol, ports: it.ports, from, conditions },
      names,
    ),
  );
  return effects.find(({ does }) => does === 'unknown') ?? merged(effects);
}

/** Whether a statement that we can read begins there. */
function begins(rule: readonly string[], at: number): boolean {
  const two = rule.slice(at, at + 2).join(' ');
  return (
    DPORT.test(two) ||
    PROTOCOL.test(two) ||
    /^(ip6? saddr|ct state)$/.test(two) ||
    /^(accept|counter)$/.test(rule[at] ?? '')
  );
}

function merged(effects: readonly Effect[]): Effect {
  const openings = effects.filter(it => it.does === 'open');
  return {
    does: 'open',
    ports: openings.flatMap(({ ports }) => ports),
    notes: [...new Set(openings.flatMap(({ notes }) => notes))],
  };
}
