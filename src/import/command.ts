// import/ reads the files of knockd, and writes a configuration of ours with the same meaning.
// It is a function from text to text, and says what it doubts.
// Floor 7: it imports only from rooms on lower floors.

import { basename } from 'node:path';
import { parse } from 'shell-quote';
import { type Effect, NOTHING, type Opening, type PortNames, unknown } from './effect.ts';
import { readFirewalld } from './firewalls/firewalld.ts';
import { readIptables } from './firewalls/iptables.ts';
import { readKnockHelper } from './firewalls/knock-helper.ts';
import { readNft } from './firewalls/nft.ts';
import { readUfw } from './firewalls/ufw.ts';

/** The effect of a whole command line of knockd.conf. */
interface CommandLine {
  /** The opening; undefined if it opens nothing, or nothing that we could read. */
  readonly opening: Opening | undefined;
  /** Whether it takes back what another one opened. */
  readonly closes: boolean;
  /** Its other effects, or why we cannot read it, as sentences without a period. */
  readonly notes: readonly string[];
}

type Reader = (words: readonly string[], names: PortNames) => Effect | readonly Effect[];

const FIREWALLS: readonly (readonly [program: RegExp, reader: Reader])[] = [
  [/^ip6?tables(-nft|-legacy)?$/, readIptables],
  [/^nft$/, readNft],
  [/^ufw$/, readUfw],
  [/^firewall-cmd$/, readFirewalld],
  [/^(knock_add|knock_helper_ipt\.sh)$/, readKnockHelper],
];
const HARMLESS = /^(echo|printf|logger|true|:|exit|test|\[|fi|done|\})$/;
/** Words that stand before a command and do not change what it does. */
const BEFORE = /^(if|then|else|do|!|\{|exec|nohup|setsid|time|sudo|doas|env|command|timeout)$/;
/** Options of these that take a word, and words that do so themselves. */
const BEFORE_OPTION = /^(-[ugU]|timeout)$/;
const SHELL = /^(ba|da|z)?sh$/;
/** The depth of shells in shells. No author goes deeper. */
const DEEPEST = 3;

/** Understands a shell's command line as far as it has commands of firewalls. */
export function readCommandLine(line: string, names: PortNames): CommandLine {
  const openings: Opening[] = [];
  const notes: string[] = [];
  let closes = false;
  let waited: number | undefined;
  for (const { program, effect } of effects(line, names, 0)) {
    if (effect.does === 'open') openings.push(effect);
    else if (effect.does === 'wait') waited = (waited ?? 0) + effect.time;
    else if (effect.does === 'close') closes = true;
    else if (effect.does === 'unknown') notes.push(`${program} ${effect.why}`);
  }
  if (openings.length === 0) return { opening: undefined, closes, notes };
  // `open; sleep 30; close`
  const time = closes && waited !== undefined ? waited : openings.find(it => it.time !== undefined)?.time;
  const opening: Opening = {
    does: 'open',
    ports: openings.flatMap(({ ports }) => ports),
    notes: [...new Set(openings.flatMap(it => it.notes))],
    ...(time === undefined ? {} : { time }),
  };
  return { opening, closes: false, notes };
}

interface NamedEffect {
  readonly program: string;
  readonly effect: Effect;
}

function effects(line: string, names: PortNames, depth: number): readonly NamedEffect[] {
  const commands = splitCommands(line);
  if (commands === undefined) return [{ program: 'the command', effect: unknown('cannot be read') }];
  return commands.flatMap(words => {
    const left = withoutPrefix(words);
    const [path = '', ...rest] = left;
    const program = basename(path);
    if (SHELL.test(program) && rest[0] === '-c' && depth < DEEPEST)
      return [
        ...effects(rest[1] ?? '', names, depth + 1),
        ...(rest.length > 2 ? [{ program, effect: unread(rest.slice(2)) }] : []),
      ];
    return [readCommand(program, rest, names)].flat().map(effect => ({ program, effect }));
  });
}

function readCommand(
  program: string,
  words: readonly string[],
  names: PortNames,
): Effect | readonly Effect[] {
  if (program === '' || HARMLESS.test(program)) return NOTHING;
  if (program === 'sleep') return readSleep(words);
  const [, reader] = FIREWALLS.find(([pattern]) => pattern.test(program)) ?? [];
  return reader ? reader(words, names) : unknown('is not run here, and its effect is not known');
}

function unread(words: readonly string[]): Effect {
  return unknown(`has "${words.join(' ')}", which cannot be read`);
}

function readSleep(words: readonly string[]): Effect {
  const [, number, unit = 's'] = /^(\d{1,9})([smhd]?)$/.exec(words[0] ?? '') ?? [];
  if (number === undefined || words.length > 1) return unread(words);
  return { does: 'wait', time: Number(number) * ({ m: 60_000, h: 3_600_000, d: 86_400_000 }[unit] ?? 1000) };
}

/** The words of each simple command, without redirections; undefined if no shell could read the line. */
function splitCommands(line: string): readonly (readonly string[])[] | undefined {
  const commands: string[][] = [[]];
  let redirects = false;
  try {
    for (const token of parse(line, name => `$${name}`)) {
      const words = commands.at(-1) ?? [];
      if (typeof token === 'string') {
        if (!redirects) words.push(token);
        redirects = false;
      } else if ('comment' in token) break;
      else if (token.op === 'glob') words.push(token.pattern);
      else if (/[<>]/.test(token.op)) {
        redirects = true;
        if (/^[012]$/.test(words.at(-1) ?? '')) words.pop(); // 2>/dev/null
      } else commands.push([]);
    }
  } catch {
    return undefined; // "${" without an end
  }
  return commands.filter(words => words.length > 0);
}

/** `sudo -n /sbin/iptables …` and `IPT=1 iptables …` are `iptables …`. */
function withoutPrefix(words: readonly string[]): readonly string[] {
  const command = words.findIndex((word, index) => {
    const isOption = word.startsWith('-') || BEFORE_OPTION.test(basename(words[index - 1] ?? ''));
    return !isOption && !BEFORE.test(basename(word)) && !/^[A-Za-z_]\w*=/.test(word);
  });
  return command < 0 ? [] : words.slice(command);
}
