import { FAMILIES, type Family } from '../inet/family.ts';
import { mergePortRanges, type PortRange } from '../inet/port.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { inIntervals } from '../nftables/interval.ts';
import type { ChainWithRules, Ruleset } from '../nftables/ruleset.ts';
import { type Place, START } from './automaton.ts';
import { names, serviceOfGuard, serviceOfOpen } from './names.ts';

/**
 * What a table that {@link compile} made says, read back from the table alone. The file may say something else, so we ask
 * the kernel.
 */

/** A whole sequence as the table has it: the places on the way. The last one opens the service. */
export interface CompiledSequence {
  readonly service: string;
  readonly user: string | null;
  readonly places: readonly Place[];
}

/** Ports by the chain that a map sends them to, or by `accept`. */
function portsByVerdict(ruleset: Ruleset, map: string): Map<string, readonly PortRange[]> {
  const ports = new Map<string, PortRange[]>();
  for (const { key, data } of ruleset.sets.find(set => set.name === map)?.elements ?? []) {
    if (data === undefined || Buffer.isBuffer(data) || key.length !== 8) continue;
    const target = 'chain' in data ? data.chain : data.code;
    const list = ports.get(target) ?? [];
    const port = key.readUInt16BE(4);
    list.push({ protocol: key[0] === IPPROTO.udp ? 'udp' : 'tcp', first: port, last: port });
    ports.set(target, list);
  }
  return new Map([...ports].map(([target, list]) => [target, mergePortRanges(list)]));
}

function chainNamed(ruleset: Ruleset, name: string): ChainWithRules | undefined {
  return ruleset.chains.find(chain => chain.name === name);
}

/** The map that leads to the guards. If they are hooked in before DNAT, they have a map of their own. */
export function guardMap(ruleset: Ruleset): string {
  return chainNamed(ruleset, 'prerouting') ? names.guards : names.ports;
}

/** The ports of each service; none of one that only tells. */
export function servicePorts(ruleset: Ruleset): Map<string, readonly PortRange[]> {
  const ports = new Map<string, readonly PortRange[]>();
  for (const { name } of ruleset.chains) {
    const service = serviceOfOpen(name);
    if (service !== undefined) ports.set(service, []);
  }
  for (const [target, ranges] of portsByVerdict(ruleset, guardMap(ruleset))) {
    const service = serviceOfGuard(target);
    if (service !== undefined) ports.set(service, ranges);
  }
  return ports;
}

/** The ports of some services, as `22/tcp`. */
export function portsOf(ruleset: Ruleset, services: readonly string[]): Set<string> {
  const ports = servicePorts(ruleset);
  return portKeys(services.flatMap(service => ports.get(service) ?? []));
}

/** Whether an address needs no knock: `allow` names it. */
export function isAllowed(ruleset: Ruleset, family: Family, address: Buffer): boolean {
  const set = ruleset.sets.find(({ name }) => name === names.allowed(family));
  return set !== undefined && inIntervals(set, address);
}

/** `IFNAMSIZ`, include/uapi/linux/if.h */
const INTERFACE_NAME = 16;

/** Whether the guards look at packets from every interface. */
export function looksEverywhere(ruleset: Ruleset): boolean {
  return chainNamed(ruleset, 'interfaces') === undefined;
}

/** Whether the guards look at packets from the interface of that name. Chain `interfaces` accepts the others. */
export function isLookedAt(ruleset: Ruleset, name: string): boolean {
  const some = chainNamed(ruleset, 'interfaces');
  if (!some) return true;
  const bytes = Buffer.alloc(INTERFACE_NAME);
  bytes.write(name);
  return some.rules.some(({ expressions }) =>
    expressions.some(it => it.kind === 'cmp' && bytes.subarray(0, it.value.length).equals(it.value)),
  );
}

/** Ports that are open to every source. */
export function publicPorts(ruleset: Ruleset): readonly PortRange[] {
  const guarded =
    guardMap(ruleset) === names.guards ? portKeys([...servicePorts(ruleset).values()].flat()) : new Set();
  const accepted = portsByVerdict(ruleset, names.ports).get('accept') ?? [];
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

/** The ports, as `22/tcp`, that strangers cannot reach. There are none if no hooked chain leads to the guards any more. */
export function guardedPorts(ruleset: Ruleset | undefined): Set<string> {
  if (!ruleset || ruleset.table.dormant) return new Set();
  const map = guardMap(ruleset);
  const asked = ruleset.chains.some(
    ({ hook, rules }) =>
      hook &&
      rules.some(({ expressions }) =>
        expressions.some(it => it.kind === 'lookup' && (it.set === map || it.set === names.held(map))),
      ),
  );
  return asked ? portKeys([...servicePorts(ruleset).values()].flat()) : new Set();
}

/** Whether the first new connection uses an opening up. If so, the service's guard changes a set. */
export function usesUp(guard: ChainWithRules | undefined): boolean {
  return guard?.rules.some(({ expressions }) => expressions.some(({ kind }) => kind === 'dynset')) ?? false;
}

/** How long a completed sequence opens the service, in milliseconds; undefined if another program changed that. */
export function openingTime(open: ChainWithRules | undefined, service: string): number | undefined {
  const sets = new Set<string>(FAMILIES.map(family => names.clients(service, family)));
  for (const { expressions } of open?.rules ?? [])
    for (const expression of expressions)
      if (expression.kind === 'dynset' && sets.has(expression.set)) return expression.timeout;
  return undefined;
}

/** The places that open a service, and the user of each. */
export function openingPlaces(ruleset: Ruleset): Map<Place, { service: string; user: string | null }> {
  const places = new Map<Place, { service: string; user: string | null }>();
  for (const { key, data, comment } of ruleset.sets.find(({ name }) => name === names.arrivals)?.elements ??
    []) {
    const service = data && 'chain' in data ? serviceOfOpen(data.chain) : undefined;
    if (service !== undefined && key.length === 4)
      places.set(key.readUInt32LE(0) as Place, { service, user: comment ?? null });
  }
  return places;
}

/** The places that tokens lead to: they open a service, and no knock leads there. */
export function tokenPlaces(ruleset: Ruleset): Map<Place, { service: string; user: string }> {
  const places = openingPlaces(ruleset);
  for (const { places: path } of compiledSequences(ruleset)) for (const place of path) places.delete(place);
  return new Map(
    [...places].flatMap(([place, { service, user }]) =>
      user === null ? [] : [[place, { service, user }] as const],
    ),
  );
}

/** All sequences, as the places that they lead through. */
export function compiledSequences(ruleset: Ruleset): CompiledSequence[] {
  const next = new Map<Place, Place[]>();
  for (const { key, data } of ruleset.sets.find(({ name }) => name === names.steps)?.elements ?? []) {
    if (!Buffer.isBuffer(data) || key.length !== 12) continue;
    const from = key.readUInt32LE(0) as Place;
    const to = data.readUInt32LE(0) as Place;
    if (to === START) continue;
    const steps = next.get(from);
    if (steps) steps.push(to);
    else next.set(from, [to]);
  }
  const opens = openingPlaces(ruleset);
  const sequences: CompiledSequence[] = [];
  const walk = (place: Place, places: readonly Place[]): void => {
    for (const to of next.get(place) ?? []) {
      if (places.includes(to)) continue; // our tables have no circles, but another program may have changed this one
      const path = [...places, to];
      const opening = opens.get(to);
      if (opening === undefined) walk(to, path);
      else sequences.push({ ...opening, places: path });
    }
  };
  walk(START, []);
  return sequences;
}

/** How much of an address is one client, in bits, from the masks in the rules of chain `forget`. */
export function readPrefix(ruleset: Ruleset): Record<Family, number> {
  const prefix = { ipv4: 32, ipv6: 128 };
  for (const { expressions } of ruleset.chains.find(({ name }) => name === 'forget')?.rules ?? [])
    for (const expression of expressions)
      if (expression.kind === 'bitwise')
        prefix[expression.mask.length === 4 ? 'ipv4' : 'ipv6'] = bitCount(expression.mask);
  return prefix;
}

function bitCount(mask: Buffer): number {
  return [...mask].reduce((count, byte) => count + byte.toString(2).replaceAll('0', '').length, 0);
}
