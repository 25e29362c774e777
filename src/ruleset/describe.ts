import { createHash } from 'node:crypto';
import { formatDuration } from '../inet/duration.ts';
import { FAMILIES } from '../inet/family.ts';
import { formatPortRange } from '../inet/port.ts';
import { DATATYPES, keyText } from '../nftables/datatype.ts';
import type { Expression } from '../nftables/expression.ts';
import { intervalTexts } from '../nftables/interval.ts';
import { byName, type ChainWithRules, type Ruleset } from '../nftables/ruleset.ts';
import { names } from './names.ts';
import { compiledSequences, publicPorts, readPrefix, servicePorts, tokenPlaces, usesUp } from './program.ts';

/** A key of the configuration in which two tables differ. Values of secrets are null. */
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

/** The keys of the configuration in which two tables differ. A service that is new or gone is one difference. */
export function differences(before: Ruleset | undefined, after: Ruleset): Difference[] {
  const old = before ? describe(before) : new Map<string, Described>();
  const now = describe(after);
  const services = (ruleset: Ruleset | undefined) => new Set(ruleset && servicePorts(ruleset).keys());
  const [was, is] = [services(before), services(after)];
  const whole = [
    ...[...is]
      .filter(name => !was.has(name))
      .map(name => ({ key: `services.${name}`, before: undefined, after: 'new' })),
    ...[...was]
      .filter(name => !is.has(name))
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

/** `1 service`, `2 services` */
export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

/** A table as keys and values of the configuration. */
function describe(ruleset: Ruleset): Map<string, Described> {
  const chains = byName(ruleset.chains);
  const sets = byName(ruleset.sets);
  const chain = (name: string) => chains.get(name);
  const base = chain('input')?.hook;
  const sizeOf = (name: string) => sets.get(name)?.size;
  const prefix = readPrefix(ruleset);
  const words = new Map<string, Described>();
  const put = (key: string, text: string | number | boolean | undefined, secret = false) =>
    text !== undefined && words.set(key, { text: String(text), secret });

  for (const [name, ports] of servicePorts(ruleset)) {
    const key = `services.${name}`;
    const guard = chain(names.guard(name));
    const open = chain(names.open(name));
    put(`${key}.ports`, ports.map(formatPortRange).join(', '));
    put(`${key}.openFor`, timeouts(open)[0]);
    put(`${key}.singleUse`, usesUp(guard));
    put(`${key}.closed`, guard && closedOf(guard));
    put('log.refused', guard && expressionsOf(guard).some(({ kind }) => kind === 'log'));
    put('log.group', open && expressionsOf(open).flatMap(it => (it.kind === 'log' ? [it.group] : []))[0]);
    put('limits.clients', sizeOf(names.clients(name, 'ipv4')));
  }
  describeSequences(ruleset, put);
  put('policy', base?.policy);
  put('public', publicPorts(ruleset).map(formatPortRange).join(', '));
  put('allow', FAMILIES.flatMap(family => intervals(ruleset, names.allowed(family))).join(', '));
  put('interfaces', interfacesOf(chain('interfaces')).join(', '));
  put('hook', chain('prerouting') ? 'prerouting' : 'input');
  put('priority', base?.priority);
  for (const family of FAMILIES) put(`prefix.${family}`, prefix[family]);
  put('strict', chain('stray') !== undefined);
  put('limits.progress', sizeOf(names.progress('ipv4')));
  put('table', ruleset.table.name);
  return words;
}

type Put = (key: string, text: string | undefined, secret?: boolean) => void;

/** Sequences are secrets, so a hash stands for each. It tells only whether two are the same. */
function describeSequences(ruleset: Ruleset, put: Put): void {
  const chains = new Map(
    ruleset.sets
      .find(({ name }) => name === names.arrivals)
      ?.elements.filter(({ key }) => key.length === 4)
      .map(({ key, data }) => [key.readUInt32LE(0), data && 'chain' in data ? data.chain : '']),
  );
  const pauses = new Map<string, Set<string>>();
  for (const { service, user, places } of compiledSequences(ruleset)) {
    const digest = createHash('sha256').update(places.join(' ')).digest('hex');
    put(`services.${service}.${user === null ? 'sequence' : `sequences.${user}`}`, digest, true);
    const seen = pauses.get(service) ?? new Set();
    for (const place of places.slice(0, -1)) seen.add((chains.get(place) ?? '').replace(/^\w+_/, ''));
    pauses.set(service, seen);
  }
  for (const [place, { service, user }] of tokenPlaces(ruleset))
    put(`services.${service}.tokens.${user}`, createHash('sha256').update(String(place)).digest('hex'), true);
  for (const [service, seen] of pauses)
    put(`services.${service}.knockTimeout`, [...seen].toSorted().join(', '));
}

function expressionsOf({ rules }: ChainWithRules): readonly Expression[] {
  return rules.flatMap(({ expressions }) => expressions);
}

function timeouts(chain: ChainWithRules | undefined): string[] {
  return (chain ? expressionsOf(chain) : []).flatMap(it =>
    it.kind === 'dynset' && it.timeout !== undefined ? [formatDuration(it.timeout)] : [],
  );
}

function closedOf(guard: ChainWithRules): string | undefined {
  return expressionsOf(guard)
    .flatMap(it => ('verdict' in it && 'chain' in it.verdict ? [it.verdict.chain] : []))
    .find(name => name.startsWith('closed_'))
    ?.slice('closed_'.length);
}

function interfacesOf(chain: ChainWithRules | undefined): string[] {
  return (chain ? expressionsOf(chain) : []).flatMap(it =>
    it.kind === 'cmp' ? [keyText([DATATYPES.ifname], it.value).replaceAll('"', '')] : [],
  );
}

function intervals(ruleset: Ruleset, name: string): string[] {
  const set = ruleset.sets.find(it => it.name === name);
  if (!set) return [];
  // the kernel lists ranges from last to first; where two touch, the end of one must come before the start of the next
  const sorted = set.elements.toSorted(
    (a, b) => Buffer.compare(a.key, b.key) || Number(b.end === true) - Number(a.end === true),
  );
  return intervalTexts({ ...set, elements: sorted });
}
