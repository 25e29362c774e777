import { CLOSE, type Effect, NOTHING, opening, type PortNames, unknown } from '../effect.ts';
import { elsewhere } from './chain.ts';

/** Long names of options that matter, from iptables(8) and iptables-extensions(8). */
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
  '--state': '--ctstate',
};

/** The options that make a rule, without its other conditions. */
const READ: ReadonlySet<string> = new Set(['-A', '-I', '-D', '-t', '-j', '-g', '-p', '-s', '--dport']);
/** Conditions that new connections meet anyway, and options that only say how the command works. Some take a word. */
const USUAL =
  /^(--syn|-4|-6|--ipv[46]|-v|--verbose|-n|(-w|--wait|-W|--wait-interval)( \d+)?|(--comment|--reject-with)( .*)?)$/s;
/** Modules whose options explain themselves. */
const MODULES: ReadonlySet<string> = new Set(['tcp', 'udp', 'multiport', 'state', 'conntrack', 'comment']);

/** A command of iptables or ip6tables, without the program. */
export function readIptables(words: readonly string[], names: PortNames): Effect {
  const options = readOptions(words);
  if (typeof options === 'string') return unknown(options);
  const command = ['-A', '-I', '-D', '-C'].find(it => options.has(it));
  if (command === '-C') return NOTHING;
  if (command === undefined) return unknown('neither adds nor deletes a rule');
  const table = options.get('-t') ?? 'filter';
  if (table !== 'filter') return unknown(`changes the table ${table}: redirections stay with your firewall`);
  const target = options.get('-j') ?? options.get('-g') ?? '';
  const lets = target === 'ACCEPT';
  if (!lets && target !== 'DROP' && target !== 'REJECT')
    return command === '-D'
      ? CLOSE
      : unknown(`has the target ${target || 'of nobody'}, which cannot be read`);
  if (lets === (command === '-D')) return CLOSE;
  // the number of a rule may follow
  const [chain = '', number = '', ...more] = (options.get(command) ?? '').split(' ');
  const away = elsewhere(chain);
  if (away) return away;
  const strange = [...(/^\d*$/.test(number) ? [] : [number]), ...more];
  if (strange.length > 0) return unknown(`has "${strange.join(' ')}", which cannot be read`);
  const ports = options.get('--dport');
  const conditions = [...options]
    .filter(([name, value]) => !READ.has(name) && !isUsual(name, value))
    .map(it => it.join(' ').trim());
  const protocol = options.get('-p') ?? (ports === undefined ? undefined : 'tcp'); // as knockd's manual has it
  return opening({ protocol, ports, from: options.get('-s'), conditions }, names);
}

function isUsual(name: string, value: string): boolean {
  if (name === '-m') return value.split(' ').every(it => MODULES.has(it));
  if (name === '--ctstate') return /^(\S+,)?NEW(,\S+)?$/i.test(value);
  return USUAL.test(`${name} ${value}`.trim());
}

const ONE_WORD: ReadonlySet<string> = new Set([
  ...['--comment', '--reject-with', '-w', '--wait', '-W', '--wait-interval', '-s', '-j', '-g', '-t', '-p'],
]);

/** Options by their short names, with all their words; a sentence if they cannot be read. */
function readOptions(words: readonly string[]): ReadonlyMap<string, string> | string {
  const options = new Map<string, string>();
  let last: string | undefined;
  for (const word of words.flatMap(it => /^(--[a-z-]+)=(.*)$/s.exec(it)?.slice(1) ?? splitShort(it))) {
    if (word === '!') return 'has a condition with "!", which cannot be read';
    if (!word.startsWith('-')) {
      const one = last !== undefined && ONE_WORD.has(last) && options.get(last) !== '';
      if (last === undefined || one) return `has "${word}", which cannot be read`;
      options.set(last, `${options.get(last)} ${word}`.trim());
      continue;
    }
    last = LONG[word] ?? word;
    if (options.has(last) && READ.has(last)) return `has ${last} twice, which cannot be read`;
    options.set(last, options.get(last) ?? '');
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
