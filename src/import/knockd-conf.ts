/** A line of knockd.conf that does not count in its place, or that knockd would not understand. */
interface LineProblem {
  /** Counts from 1. */
  readonly line: number;
  readonly message: string;
}

interface Setting {
  readonly line: number;
  /** The value as written; '' for a setting without `=`. */
  readonly value: string;
}

/** A `[section]` with its settings, by lower-case names from knockd's manual. If a setting comes again, the last one counts. */
export interface Section {
  readonly name: string;
  readonly line: number;
  readonly settings: ReadonlyMap<string, Setting>;
}

export interface KnockdConf {
  readonly options: Section;
  readonly doors: readonly Section[];
  /** Settings that knockd does not know. It would refuse the file. */
  readonly unknown: readonly LineProblem[];
}

/** The settings that knockd 0.8 knows, in [options] and in doors. */
const OPTIONS: ReadonlySet<string> = new Set(['usesyslog', 'logfile', 'pidfile', 'interface']);
const DOOR: ReadonlySet<string> = new Set([
  'sequence',
  'one_time_sequences',
  'seq_timeout',
  'tcpflags',
  'target',
  'start_command',
  'start_command_6',
  'cmd_timeout',
  'stop_command',
  'stop_command_6',
]);
/** PATH_MAX, less the end of the line and of the string. */
const LONGEST = 4094;
const ALIASES: Readonly<Record<string, string>> = {
  timeout: 'seq_timeout',
  command: 'start_command',
  command_6: 'start_command_6',
};

/**
 * Reads knockd.conf like parseconfig() of knockd 0.8: lines without continuation or quotes, comments that start with `#`, and
 * `key = value` with keys in upper or lower case. If the text is no knockd.conf, it returns the reasons instead.
 */
export function parseKnockdConf(text: string): KnockdConf | { readonly problems: readonly LineProblem[] } {
  const problems: LineProblem[] = [];
  const unknown: LineProblem[] = [];
  const options = new Map<string, Setting>();
  const doors: (Section & { readonly settings: Map<string, Setting> })[] = [];
  let known: ReadonlySet<string> | undefined;
  let settings = options;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const content = raw.replace(TRIM, '');
    if (content === '' || content.startsWith('#')) continue;
    if (content.length > LONGEST) {
      problems.push({ line, message: `longer than ${LONGEST} characters, at which knockd cuts a line` });
      continue;
    }
    if (content.includes('\0')) return { problems: [{ line, message: 'a NUL byte: this is no text file' }] };
    if (content.startsWith('[') && content.endsWith(']')) {
      const name = content.slice(1, -1);
      if (name === '') problems.push({ line, message: 'a section without a name; expected "[openSSH]"' });
      settings = name === 'options' ? options : new Map();
      known = name === 'options' ? OPTIONS : DOOR;
      if (name !== 'options') doors.push({ name, line, settings });
      continue;
    }
    const equals = content.indexOf('=');
    const key = (equals < 0 ? content : content.slice(0, equals)).replace(TRIM, '').toLowerCase();
    const name = ALIASES[key] ?? key;
    if (known === undefined)
      problems.push({
        line,
        message: 'a setting outside of any section; expected "[options]" or "[openSSH]"',
      });
    else if (equals < 0 && name !== 'usesyslog')
      problems.push({ line, message: 'neither a [section] nor "key = value"' });
    else if (!known.has(name)) unknown.push({ line, message: unknownText(name, known) });
    else settings.set(name, { line, value: equals < 0 ? '' : content.slice(equals + 1).replace(TRIM, '') });
  }
  if (problems.length > 0) return { problems };
  return { options: { name: 'options', line: 0, settings: options }, doors, unknown };
}

/** isspace() of the C locale. */
const TRIM = /^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g;

function unknownText(name: string, known: ReadonlySet<string>): string {
  const other = known === OPTIONS ? DOOR : OPTIONS;
  if (other.has(name))
    return `${name} does not belong here, and knockd refuses it: left out; it belongs ${other === OPTIONS ? 'into [options]' : 'into a door'}`;
  return 'knockd has no such setting, and refuses it: left out';
}

/** The number that C's atoi() reads from a text: 0 if the text does not begin with one. */
export function atoi(text: string): number {
  return Number(/^[ \t\n\v\f\r]*([+-]?\d{1,15})/.exec(text)?.[1] ?? 0);
}
