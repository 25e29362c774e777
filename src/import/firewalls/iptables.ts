import { CLOSE, type Effect, NOTHING, opening, type PortNames, unknown } from '../effect.ts';

/** Long names of options that matter, iptables(8) and iptables-extensions(8). */
const LONG: Readonly<Record<string, string>> = {
  '--append': '-A',
  '--insert': '-I',
  '--delete': '-D',
  '--check': '-C',
  '--table': '-t',
  '--protocol': '-p',
  '--proto': '-p',
  '--source': '-s',
  '--src': '-s',
  '--destination': '-d',
  '--dst': '-d',
  '--in-interface': '-i',
  '--jump': '-j',
  '--goto': '-g',
  '--match': '-m',
  '--destination-port': '--dport',
  '--destination-ports': '--dport',
  '--dports': '--dport',
  '--ports': '--dport',
};

/** Conditions that new connections meet anyway. */
const USUAL: ReadonlySet<string> = new Set([
  '--ctstate',
  '--state',
  '--syn',
  '-m',
  '--comment',
  '-w',
  '--wait',
  '-4',
  '-6',
]);

/** A command of iptables or ip6tables, without the program. */
export function readIptables(words: readonly string[], names: PortNames): Effect {
  const options = readOptions(words);
  if (options === undefined) return unknown('has a condition with "!", which cannot be read');
  const command = ['-A', '-I', '-D', '-C'].find(it => options.has(it));
  if (command === '-C') return NOTHING;
  if (command === undefined) return unknown('neither adds nor deletes a rule');
  const table = options.get('-t') ?? 'filter';
  if (table !== 'filter') return unknown(`changes the table ${table}: redirections stay with your firewall`);
  const chain = options.get(command) ?? '';
  if (chain === 'FORWARD')
    return unknown('opens a way to other hosts: "hook": "prerouting" guards ports that this host forwards');
  const target = options.get('-j') ?? options.get('-g') ?? '';
  const lets = target === 'ACCEPT';
  if (!lets && target !== 'DROP' && target !== 'REJECT')
    return command === '-D'
      ? CLOSE
      : unknown(`has the target ${target || 'of nobody'}, which cannot be read`);
  if (lets === (command === '-D')) return CLOSE;
  const ports = options.get('--dport');
  const conditions = [...options]
    .filter(([name]) => !READ.has(name) && !USUAL.has(name))
    .map(it => it.join(' ').trim());
  const protocol = options.get('-p') ?? (ports === undefined ? undefined : 'tcp'); // as the manual of knockd has it
  return opening({ protocol, ports, from: options.get('-s'), conditions }, names);
}

const READ: ReadonlySet<string> = new Set(['-A', '-I', '-D', '-t', '-j', '-g', '-p', '-s', '--dport']);

/** Options by their short names, with '' for none; undefined where one is negated. */
function readOptions(words: readonly string[]): ReadonlyMap<string, string> | undefined {
  const options = new Map<string, string>();
  const left = words.flatMap(word => /^(--[a-z-]+)=(.*)$/s.exec(word)?.slice(1) ?? splitShort(word));
  for (let index = 0; index < left.length; index++) {
    const word = left[index] ?? '';
    if (word === '!') return undefined;
    if (!/^-/.test(word)) continue; // the number of a rule
    const next = left[index + 1] ?? '-';
    options.set(LONG[word] ?? word, /^(-|!)/.test(next) ? '' : next);
    if (!/^(-|!)/.test(next)) index++;
  }
  return options;
}

/** `-ptcp` is `-p tcp`. */
function splitShort(word: string): readonly string[] {
  return (
    /^-([psdijmt])(.+)$/s
      .exec(word)
      ?.slice(1)
      .map((part, index) => (index === 0 ? `-${part}` : part)) ?? [word]
  );
}
