import { createHash } from 'node:crypto';
import { formatDuration } from '../inet/duration.ts';
import { formatPortRange } from '../inet/port.ts';
import { type Program, tokenPlaces } from './program.ts';

/** A key of the configuration in which two programs differ. Values of secrets are null. */
export interface Difference {
  /** `services.ssh.openFor` */
  readonly key: string;
  readonly before: string | null | undefined;
  readonly after: string | null | undefined;
}

/** A value, and whether it must not be shown. */
interface Described {
  readonly text: string;
  readonly secret?: boolean;
}

/** The keys of the configuration in which two programs differ. A service that is new or gone is one difference. */
export function differences(before: Program | undefined, after: Program): Difference[] {
  const old = before ? describe(before) : new Map<string, Described>();
  const now = describe(after);
  const was = before?.services ?? new Map<string, unknown>();
  const whole = [
    ...[...after.services.keys()]
      .filter(name => !was.has(name))
      .map(name => ({ key: `services.${name}`, before: undefined, after: 'new' })),
    ...[...was.keys()]
      .filter(name => !after.services.has(name))
      .map(name => ({ key: `services.${name}`, before: 'gone', after: undefined })),
  ];
  const told = new Set(whole.map(({ key }) => key));
  const keys = [...new Set([...old.keys(), ...now.keys()])];
  const single = keys.flatMap(key => {
    const [a, b] = [old.get(key), now.get(key)];
    const service = key.startsWith('services.') ? key.split('.').slice(0, 2).join('.') : '';
    // a key that only services reveal is no difference if one table has no services
    if (a?.text === b?.text || told.has(service) || (service === '' && !(a && b))) return [];
    const shown = (value: Described | undefined) => (value?.secret ? null : value?.text);
    return [{ key, before: shown(a), after: shown(b) }];
  });
  return before ? [...whole, ...single] : whole;
}

/** `services.ssh.openFor: 10s -> 30s`. Of a secret it says only `changed`. */
export function changeText({ key, before, after }: Difference): string {
  if (before === undefined) return `${key}: ${after ?? 'new'}`;
  if (after === undefined) return `${key}: gone`;
  if (before === null || after === null) return `${key}: changed`;
  return `${key}: ${before || 'none'} -> ${after || 'none'}`;
}

/** Nobody reads more in a line. systemd ignores a message of over 4096 bytes, and journald breaks a line of over 48 kB. */
const MOST_LISTED = 20;

/** All items, or the first ones and how many more there are: `ssh, web, and 480 more` */
export function listed(items: readonly string[], separator: string): string {
  const first = items.slice(0, MOST_LISTED).join(separator);
  return items.length > MOST_LISTED ? `${first}, and ${items.length - MOST_LISTED} more` : first;
}

/** `1 service`, `2 services` */
export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

/** A program as keys and values of the configuration. Secrets are hashes, which tell only whether two are the same. */
function describe(program: Program): Map<string, Described> {
  const words = new Map<string, Described>();
  const put = (key: string, text: string | number | boolean | undefined, secret = false) =>
    text !== undefined && words.set(key, { text: String(text), secret });
  const { policy, hook, priority, prefix, strict, limits, log, table } = program;
  for (const [name, { ports, openFor, singleUse, closed, sequences }] of program.services) {
    const key = `services.${name}`;
    put(`${key}.ports`, ports.map(formatPortRange).join(', '));
    put(`${key}.openFor`, openFor && formatDuration(openFor));
    put(`${key}.singleUse`, singleUse);
    put(`${key}.closed`, closed);
    for (const { user, places } of sequences)
      put(`${key}.${user === null ? 'sequence' : `sequences.${user}`}`, digest(places.join(' ')), true);
    const pauses = new Set(sequences.flatMap(it => it.pauses));
    if (sequences.length > 0)
      put(`${key}.knockTimeout`, [...pauses].map(formatDuration).toSorted().join(', '));
  }
  for (const [place, { service, user }] of tokenPlaces(program))
    put(`services.${service}.tokens.${user}`, digest(String(place)), true);
  put('log.refused', log.refused);
  put('log.group', log.group);
  put('limits.clients', limits.clients);
  put('limits.progress', limits.progress);
  put('policy', policy);
  put('public', program.public.map(formatPortRange).join(', '));
  put('allow', program.allow.join(', '));
  put('interfaces', program.interfaces.join(', '));
  put('hook', hook);
  put('priority', priority);
  put('prefix.ipv4', prefix.ipv4);
  put('prefix.ipv6', prefix.ipv6);
  put('strict', strict);
  put('table', table);
  return words;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
