import type { Config } from '../config/types.ts';
import { readDuration } from '../inet/duration.ts';
import { ADDRESS_SIZE, FAMILIES, type Family } from '../inet/family.ts';
import { covers } from '../inet/interface.ts';
import { mergePortRanges, type PortRange } from '../inet/port.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { DATATYPES, keyText } from '../nftables/datatype.ts';
import type { Expression } from '../nftables/expression.ts';
import { inIntervals, intervalTexts } from '../nftables/interval.ts';
import { byName, type ChainWithRules, type Ruleset, type SetWithElements } from '../nftables/ruleset.ts';
import { type Place, START } from './automaton.ts';
import { names, serviceOfGuard, serviceOfOpen } from './names.ts';

/**
 * The meaning of a table, in the words of the configuration. {@link programOf} makes it from a configuration, and
 * {@link decompile} reads it back from a table. If another program has changed the table, some of it may be undefined.
 */
export interface Program {
  readonly table: string;
  readonly policy: string | undefined;
  readonly priority: number | undefined;
  readonly hook: Config['hook'];
  readonly strict: boolean;
  /** Patterns of the interfaces that the guards look at; empty for all. */
  readonly interfaces: readonly string[];
  /** Networks and ranges as nft writes them. */
  readonly allow: readonly string[];
  /** Ports that are open to every source. */
  readonly public: readonly PortRange[];
  /** How much of an address is one client, in bits. */
  readonly prefix: Readonly<Record<Family, number>>;
  /** `refused` is undefined without guards, `group` without services. */
  readonly log: { readonly refused: boolean | undefined; readonly group: number | undefined };
  readonly limits: { readonly progress: number | undefined; readonly clients: number | undefined };
  readonly services: ReadonlyMap<string, ServiceProgram>;
  /** The places that open a service, and the user of each. */
  readonly openings: ReadonlyMap<Place, Opening>;
  /** Whether hooked chains lead to the guards. If not, nothing is guarded. */
  readonly guards: boolean;
}

interface Opening {
  readonly service: string;
  readonly user: string | null;
}

interface ServiceProgram {
  /** None for a service that is only an event. */
  readonly ports: readonly PortRange[];
  /** In milliseconds; undefined without ports. */
  readonly openFor: number | undefined;
  /** Whether the first new connection uses an opening up. */
  readonly singleUse: boolean;
  /** Undefined without ports. */
  readonly closed: string | undefined;
  /** Sorted by their users. */
  readonly sequences: readonly CompiledSequence[];
}

/** A whole sequence as the table has it. */
export interface CompiledSequence {
  readonly user: string | null;
  /** The places on the way. The last one opens the service. */
  readonly places: readonly Place[];
  /** The longest pause after each knock but the last, in milliseconds. */
  readonly pauses: readonly number[];
}

/** In an order that both the file and the table give. */
export function sorted(sequences: readonly CompiledSequence[]): CompiledSequence[] {
  const key = ({ user, places }: CompiledSequence) => `${user ?? ''} ${places.join(' ')}`;
  return sequences.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** One load asks several times for the program of the same ruleset, which is a value. */
const PROGRAMS = new WeakMap<Ruleset, () => Program>();

/** Says what the program of a ruleset is, so that it need not be read back. */
export function remember(ruleset: Ruleset, program: () => Program): () => Program {
  const known = once(program);
  PROGRAMS.set(ruleset, known);
  return known;
}

/** The program of a table, even if another program wrote it. Slow parts are read when they are first asked for. */
export function decompile(ruleset: Ruleset): Program {
  const known = PROGRAMS.get(ruleset) ?? remember(ruleset, () => read(ruleset));
  return known();
}

function read(ruleset: Ruleset): Program {
  const chains = byName(ruleset.chains);
  const sets = byName(ruleset.sets);
  const sizeOf = (name: string) => sets.get(name)?.size;
  const base = chains.get('input')?.hook;
  const hook = chains.has('prerouting') ? 'prerouting' : 'input';
  const openings = once(() => openingsOf(sets.get(names.arrivals)));
  const sequences = once(() => sequencesOf(sets, openings()));
  const ports = portsByVerdict(sets.get(hook === 'prerouting' ? names.guards : names.ports));
  const services = new Set([
    ...ruleset.chains.flatMap(({ name }) => serviceOfOpen(name) ?? []),
    ...[...ports.keys()].flatMap(target => serviceOfGuard(target) ?? []),
  ]);
  const ofGuards = [...services].flatMap(service => expressionsOf(chains.get(names.guard(service))));
  const guarded = [...services].some(service => chains.has(names.guard(service)));
  const ofOpens = [...services].flatMap(service => expressionsOf(chains.get(names.open(service))));
  return {
    table: ruleset.table.name,
    policy: base?.policy,
    priority: base?.priority,
    hook,
    strict: chains.has('stray'),
    interfaces: expressionsOf(chains.get('interfaces')).flatMap(it =>
      it.kind === 'cmp' ? [keyText([DATATYPES.ifname], it.value).replaceAll('"', '')] : [],
    ),
    allow: FAMILIES.flatMap(family => intervalsOf(sets.get(names.allowed(family)), ADDRESS_SIZE[family])),
    public: publicPorts(
      portsByVerdict(sets.get(names.ports)).get('accept'),
      hook === 'prerouting' ? ports : undefined,
    ),
    prefix: prefixOf(chains.get('forget')),
    log: {
      refused: guarded ? ofGuards.some(({ kind }) => kind === 'log') : undefined,
      group: ofOpens.flatMap(it => (it.kind === 'log' ? [it.group] : []))[0],
    },
    limits: { progress: sizeOf(names.progress('ipv4')), clients: sizeOf(names.admitted('ipv4')) },
    services: new Map(
      [...services].map(service => {
        const guard = expressionsOf(chains.get(names.guard(service)));
        return [
          service,
          {
            ports: ports.get(names.guard(service)) ?? [],
            openFor: openForOf(expressionsOf(chains.get(names.open(service))), service),
            singleUse: guard.some(({ kind }) => kind === 'dynset'),
            closed: closedOf(guard),
            get sequences() {
              return sorted(sequences().get(service) ?? []);
            },
          },
        ];
      }),
    ),
    get openings() {
      return openings();
    },
    guards: leadsToGuards(ruleset, hook),
  };
}

/** A value that is computed when it is first asked for. */
function once<T extends object>(compute: () => T): () => T {
  let value: T | undefined;
  return () => (value ??= compute());
}

function expressionsOf(chain: ChainWithRules | undefined): readonly Expression[] {
  return chain?.rules.flatMap(({ expressions }) => expressions) ?? [];
}

/** Ports by the guard that a map sends them to, or by `accept`. */
function portsByVerdict(map: SetWithElements | undefined): Map<string, readonly PortRange[]> {
  const ports = new Map<string, PortRange[]>();
  for (const { key, data } of map?.elements ?? []) {
    if (data === undefined || Buffer.isBuffer(data) || key.length !== 8) continue;
    const target = 'chain' in data ? data.chain : data.code;
    if (target !== 'accept' && serviceOfGuard(target) === undefined) continue; // thousands are knock ports
    const list = ports.get(target) ?? [];
    const port = key.readUInt16BE(4);
    list.push({ protocol: key[0] === IPPROTO.udp ? 'udp' : 'tcp', first: port, last: port });
    ports.set(target, list);
  }
  return new Map([...ports].map(([target, list]) => [target, mergePortRanges(list)]));
}

/** The accepted ports without those that guards before DNAT have looked at. */
function publicPorts(
  accepted: readonly PortRange[] = [],
  guards: ReadonlyMap<string, readonly PortRange[]> = new Map(),
): readonly PortRange[] {
  const guarded = portKeys([...guards.values()].flat());
  const open = [...eachPort(accepted)].filter(({ protocol, port }) => !guarded.has(`${port}/${protocol}`));
  return mergePortRanges(open.map(({ protocol, port }) => ({ protocol, first: port, last: port })));
}

function* eachPort(ranges: readonly PortRange[]): Generator<{ protocol: Protocol; port: number }> {
  for (const { protocol, first, last } of ranges)
    for (let port = first; port <= last; port++) yield { protocol, port };
}

function portKeys(ranges: readonly PortRange[]): Set<string> {
  return new Set([...eachPort(ranges)].map(({ protocol, port }) => `${port}/${protocol}`));
}

/** The texts of a set of addresses; empty if elements have another `size`, since the set is not ours. */
function intervalsOf(set: SetWithElements | undefined, size: number): string[] {
  if (!set?.elements.every(({ key }) => key.length === size)) return [];
  // the kernel lists ranges from last to first; if two touch, the end of one must come before the start of the next
  const elements = set.elements.toSorted(
    (a, b) => Buffer.compare(a.key, b.key) || Number(b.end === true) - Number(a.end === true),
  );
  return intervalTexts({ ...set, elements });
}

/** From the masks in the rules of chain `forget`. */
function prefixOf(forget: ChainWithRules | undefined): Record<Family, number> {
  const prefix = { ipv4: 32, ipv6: 128 };
  for (const expression of expressionsOf(forget))
    if (expression.kind === 'bitwise')
      prefix[expression.mask.length === 4 ? 'ipv4' : 'ipv6'] = bitCount(expression.mask);
  return prefix;
}

function bitCount(mask: Buffer): number {
  return [...mask].reduce((count, byte) => count + byte.toString(2).replaceAll('0', '').length, 0);
}

function openForOf(open: readonly Expression[], service: string): number | undefined {
  const sets = new Set<string>(FAMILIES.map(family => names.clients(service, family)));
  return open.flatMap(it => (it.kind === 'dynset' && sets.has(it.set) ? [it.timeout] : []))[0];
}

function closedOf(guard: readonly Expression[]): string | undefined {
  return guard
    .flatMap(it => ('verdict' in it && 'chain' in it.verdict ? [it.verdict.chain] : []))
    .find(name => name.startsWith('closed_'))
    ?.slice('closed_'.length);
}

function openingsOf(arrivals: SetWithElements | undefined): Map<Place, Opening> {
  const openings = new Map<Place, Opening>();
  for (const { key, data, comment } of arrivals?.elements ?? []) {
    const service = data && 'chain' in data ? serviceOfOpen(data.chain) : undefined;
    if (service !== undefined && key.length === 4)
      openings.set(key.readUInt32LE(0) as Place, { service, user: comment ?? null });
  }
  return openings;
}

/** How long each place waits for the next knock, in milliseconds: from the names of chains such as `wait_5s`. */
function pausesOf(arrivals: SetWithElements | undefined): Map<Place, number> {
  const pauses = new Map<Place, number>();
  for (const { key, data } of arrivals?.elements ?? []) {
    const [, text] = /^(?:start|wait)_(\w+)$/.exec(data && 'chain' in data ? data.chain : '') ?? [];
    const pause = text === undefined ? undefined : readDuration(text);
    if (pause?.ok && key.length === 4) pauses.set(key.readUInt32LE(0) as Place, pause.value);
  }
  return pauses;
}

/** The sequences of each service: all ways through the map of steps that lead to an opening. */
function sequencesOf(
  sets: ReadonlyMap<string, SetWithElements>,
  openings: ReadonlyMap<Place, Opening>,
): Map<string, CompiledSequence[]> {
  const next = new Map<Place, Place[]>();
  for (const { key, data } of sets.get(names.steps)?.elements ?? []) {
    if (!Buffer.isBuffer(data) || key.length !== 12) continue;
    const from = key.readUInt32LE(0) as Place;
    const to = data.readUInt32LE(0) as Place;
    if (to === START) continue;
    const steps = next.get(from);
    if (steps) steps.push(to);
    else next.set(from, [to]);
  }
  const pauses = pausesOf(sets.get(names.arrivals));
  const sequences = new Map<string, CompiledSequence[]>();
  const walk = (place: Place, places: readonly Place[]): void => {
    for (const to of next.get(place) ?? []) {
      if (places.includes(to)) continue; // our tables have no circles, but another program may have changed this one
      const path = [...places, to];
      const opening = openings.get(to);
      if (opening === undefined) {
        walk(to, path);
        continue;
      }
      const { service, user } = opening;
      const list = sequences.get(service) ?? [];
      list.push({ user, places: path, pauses: path.flatMap(it => pauses.get(it) ?? []) });
      sequences.set(service, list);
    }
  };
  walk(START, []);
  return sequences;
}

function leadsToGuards({ table, chains }: Ruleset, hook: Config['hook']): boolean {
  if (table.dormant) return false;
  const map = hook === 'prerouting' ? names.guards : names.ports;
  const isAsked = (it: Expression) => it.kind === 'lookup' && (it.set === map || it.set === names.held(map));
  return chains.some(({ hook, rules }) => hook && rules.some(({ expressions }) => expressions.some(isAsked)));
}

/** The ports of some services, as `22/tcp`. */
export function portsOf({ services }: Program, some: readonly string[]): Set<string> {
  return portKeys(some.flatMap(service => services.get(service)?.ports ?? []));
}

/** The ports, as `22/tcp`, that strangers cannot reach. */
export function guardedPorts(program: Program | undefined): Set<string> {
  return program?.guards ? portsOf(program, [...program.services.keys()]) : new Set();
}

/** Whether the guards look at packets from the interface of that name. */
export function isLookedAt({ interfaces }: Program, name: string): boolean {
  return interfaces.length === 0 || interfaces.some(pattern => covers(pattern, name));
}

/** The places that tokens lead to: they open a service as a user, and no knock leads there. */
export function tokenPlaces({ openings, services }: Program): Map<Place, { service: string; user: string }> {
  const places = new Set(
    [...services.values()].flatMap(({ sequences }) => sequences.flatMap(it => it.places)),
  );
  return new Map(
    [...openings].flatMap(([place, { service, user }]) =>
      user === null || places.has(place) ? [] : [[place, { service, user }] as const],
    ),
  );
}

/** Whether an address needs no knock: `allow` names it. */
export function isAllowed({ sets }: Pick<Ruleset, 'sets'>, family: Family, address: Buffer): boolean {
  const set = sets.find(({ name }) => name === names.allowed(family));
  return set !== undefined && inIntervals(set, address);
}
