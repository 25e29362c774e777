import type { Visit } from '../firewalls/journey.ts';
import { mergePortRanges, type PortRange } from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import { shellWord } from '../terminal/shell.ts';

/** The command that makes another program's chain accept packets to these ports (or from them), in that program's words. */
export function acceptIn(
  visit: Visit,
  ports: readonly PortRange[],
  side: 'dport' | 'sport' = 'dport',
): string {
  const ranges = mergePortRanges(ports);
  const maker = makerOf(visit);
  switch (maker.is) {
    case 'ufw':
      return ranges.map(range => `ufw allow ${text(range, ':')}/${range.protocol}`).join(' && ');
    case 'firewalld': {
      const zone = maker.zone === undefined ? '' : ` --zone=${shellWord(maker.zone)}`;
      const words = ranges.map(range => `--add-port=${text(range, '-')}/${range.protocol}`).join(' ');
      return `firewall-cmd --permanent${zone} ${words} && firewall-cmd --reload`;
    }
    case 'iptables':
      return ranges
        .map(
          range =>
            `${maker.command} -I ${visit.chain.name} -p ${range.protocol} --${side} ${text(range, ':')} -j ACCEPT`,
        )
        .join(' && ');
    case 'nft': {
      const { table, chain } = visit;
      const place = `${table.family} ${shellWord(table.name)} ${shellWord(chain.name)}`;
      return byProtocol(ranges)
        .map(([protocol, words]) => `nft insert rule ${place} ${protocol} ${side} ${words} accept`)
        .join(' && ');
    }
  }
}

/** The limit of the command of {@link acceptIn}: it lasts only until the tables are loaded from a file again. */
export function forGood(visit: Visit): string {
  const maker = makerOf(visit);
  if (maker.is === 'nft')
    return '. The command lasts until the ruleset is loaded again: write the rule into its file, too (usually /etc/nftables.conf)';
  if (maker.is === 'iptables')
    return '. The command lasts until the next boot: save the rules, too (usually netfilter-persistent save)';
  return '';
}

/** The program that made a chain. Rules that were added in any other way are lost when it writes the chain again. */
type Maker =
  | { readonly is: 'ufw' | 'nft' }
  | { readonly is: 'firewalld'; readonly zone: string | undefined }
  | { readonly is: 'iptables'; readonly command: string };

const TABLES = new Set(['filter', 'mangle', 'nat', 'raw', 'security']);
const CHAINS = new Set(['INPUT', 'PREROUTING', 'OUTPUT', 'FORWARD']);

export function makerOf({ table, chain, chains }: Visit): Maker {
  if (table.family === 'inet' && table.name === 'firewalld') {
    const zone = chains
      .map(name => /^filter_IN_([^_]+)$/.exec(name)?.[1])
      .findLast(name => name !== undefined);
    return { is: 'firewalld', zone };
  }
  const iptables = table.family !== 'inet' && TABLES.has(table.name) && CHAINS.has(chain.name);
  if (!iptables) return { is: 'nft' };
  if (table.name === 'filter' && [...table.chains.keys()].some(name => /^ufw6?-/.test(name)))
    return { is: 'ufw' };
  const command = table.family === 'ip' ? 'iptables' : 'ip6tables';
  return { is: 'iptables', command: table.name === 'filter' ? command : `${command} -t ${table.name}` };
}

function text({ first, last }: PortRange, to: string): string {
  return first === last ? String(first) : `${first}${to}${last}`;
}

/** Ports as nft takes them: `22`, `{ 22, 8000-8010 }`. */
function byProtocol(ranges: readonly PortRange[]): [Protocol, string][] {
  return (['tcp', 'udp'] as const).flatMap((protocol): [Protocol, string][] => {
    const words = ranges.filter(range => range.protocol === protocol).map(range => text(range, '-'));
    const [only] = words;
    if (only === undefined) return [];
    return [[protocol, words.length === 1 ? only : `{ ${words.join(', ')} }`]];
  });
}
