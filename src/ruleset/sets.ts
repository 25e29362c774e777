import { MOST_TOKENS } from '../config/tokens.ts';
import type { Config, Service } from '../config/types.ts';
import { formatDuration } from '../inet/duration.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import { type PortRange, portBytes } from '../inet/port.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { DATATYPES, type Datatype } from '../nftables/datatype.ts';
import { prefixElements } from '../nftables/interval.ts';
import { VERDICT } from '../nftables/register.ts';
import type { Element, SetWithElements } from '../nftables/ruleset.ts';
import { MAX_COMMENT } from '../nftables/userdata.ts';
import type { Verdict } from '../nftables/verdict.ts';
import { type Automaton, type Place, START } from './automaton.ts';
import { host32 } from './match.ts';
import { names } from './names.ts';

const ADDRESS = { ipv4: DATATYPES.ipv4_addr, ipv6: DATATYPES.ipv6_addr } as const;
const PROTOCOL_PORT = [DATATYPES.inet_proto, DATATYPES.inet_service] as const;

/** All sets and maps: the state, which packets write and swaps keep, and the program with its elements. */
export function compileSets(config: Config, automaton: Automaton): SetWithElements[] {
  return [
    ...stateSets(config),
    ...(automaton.tokens.length > 0 ? TOKEN_SETS : []),
    ...programSets(config, automaton),
  ];
}

function stateSets({ services, limits }: Config): SetWithElements[] {
  const eachFamily = (make: (family: Family) => SetWithElements) => FAMILIES.map(make);
  return [
    ...eachFamily(family => dynamicSet(names.started(family), family, limits.progress, DATATYPES.mark)),
    ...eachFamily(family => dynamicSet(names.progress(family), family, limits.progress, DATATYPES.mark)),
    ...eachFamily(family => dynamicSet(names.knockers(family), family, limits.progress)),
    ...eachFamily(family => dynamicSet(names.mistaken(family), family, limits.progress)),
    ...services
      .filter(opens)
      .flatMap(({ name }) =>
        eachFamily(family => dynamicSet(names.clients(name, family), family, limits.clients)),
      ),
    ...services
      .filter(service => opens(service) && hasUsers(service))
      .flatMap(({ name }) =>
        eachFamily(family => dynamicSet(names.users(name, family), family, limits.clients, DATATYPES.mark)),
      ),
    ...eachFamily(family => ({
      name: names.sessions(family),
      types: connection(family),
      dynamic: false,
      timeout: true,
      interval: false,
      elements: [],
    })),
    // apart from the sessions, since a load must have room for all of those, however many they are
    ...[names.syns, names.admitted].flatMap(set =>
      eachFamily(family => ({
        ...dynamicSet(set(family), family, limits.clients),
        types: connection(family),
      })),
    ),
  ];
}

/** A client, its port, our port. */
function connection(family: Family): readonly Datatype[] {
  return [ADDRESS[family], DATATYPES.inet_service, DATATYPES.inet_service];
}

/** Whether the service opens anything. Without ports it is only an event. */
export function opens({ ports }: Service): boolean {
  return ports.length > 0;
}

/** Whether the service tells its clients apart by the user that they came in as. */
export function hasUsers({ sequences, tokens }: Service): boolean {
  return tokens.length > 0 || sequences.some(({ user }) => user !== null);
}

function dynamicSet(name: string, family: Family, size: number, data?: Datatype): SetWithElements {
  return {
    name,
    types: [ADDRESS[family]],
    ...(data && { data }),
    size,
    dynamic: true,
    timeout: true,
    interval: false,
    elements: [],
  };
}

function tokenSet(name: string, data?: Datatype): SetWithElements {
  return {
    name,
    types: [DATATYPES.token],
    ...(data && { data }),
    size: MOST_TOKENS,
    dynamic: true,
    timeout: true,
    interval: false,
    elements: [],
  };
}

/**
 * The map of tokens and the set of used ones. The feeder fills the first. Packets and the feeder fill the second, which has
 * the same size, so that it has room for all that can be used.
 */
export const TOKEN_SETS = [tokenSet(names.tokens, DATATYPES.mark), tokenSet(names.used)] as const;

function programSets(config: Config, automaton: Automaton): SetWithElements[] {
  const prerouting = config.hook === 'prerouting';
  const guards = config.services.flatMap(({ name, ports }) =>
    portElements(ports, { code: 'goto', chain: names.guard(name) }),
  );
  const ports = [
    ...(prerouting
      ? config.services.flatMap(({ ports }) => portElements(ports, { code: 'accept' }))
      : guards),
    ...portElements(config.public, { code: 'accept' }),
    ...automaton.knocks.map(({ protocol, port }) =>
      portElement(protocol, port, { code: 'goto', chain: 'knock' }),
    ),
    ...(automaton.tokens.length > 0
      ? [portElement(config.token.port.protocol, config.token.port.port, { code: 'goto', chain: 'token' })]
      : []),
  ];
  return [
    ...FAMILIES.map(family => ({
      ...programSet(names.allowed(family), [ADDRESS[family]]),
      interval: true,
      elements: prefixElements(config.allow.filter(network => network.family === family)),
    })),
    {
      ...programSet(names.steps, [DATATYPES.mark, ...PROTOCOL_PORT]),
      data: DATATYPES.mark,
      elements: stepElements(automaton),
    },
    {
      ...programSet(names.arrivals, [DATATYPES.mark]),
      data: VERDICT,
      elements: arrivalElements(automaton),
    },
    ...(prerouting
      ? [{ ...programSet(names.guards, PROTOCOL_PORT), data: VERDICT, elements: guards } as const]
      : []),
    { ...programSet(names.ports, PROTOCOL_PORT), data: VERDICT, elements: ports },
  ];
}

function programSet(name: string, types: readonly Datatype[]): SetWithElements {
  return { name, types, dynamic: false, timeout: false, interval: false, elements: [] };
}

/** One element for each port of each range. A hash look-up costs the same for one port as for all, and less than a range. */
function portElements(ranges: readonly PortRange[], verdict: Verdict): Element[] {
  return ranges.flatMap(({ protocol, first, last }) =>
    Array.from({ length: last - first + 1 }, (_, index) => portElement(protocol, first + index, verdict)),
  );
}

function portElement(protocol: Protocol, port: number, verdict: Verdict): Element {
  return { key: Buffer.concat([word(IPPROTO[protocol]), portWord(port)]), data: verdict };
}

/** A value of one byte, padded as in a concatenation. */
function word(value: number): Buffer {
  return Buffer.from([value, 0, 0, 0]);
}

function portWord(port: number): Buffer {
  return Buffer.concat([portBytes(port), Buffer.alloc(2)]);
}

function stepElements({ steps, repeats }: Automaton): Element[] {
  const element = (from: Place, protocol: Protocol, port: number, to: Place, comment: string): Element => ({
    key: Buffer.concat([host32(from), word(IPPROTO[protocol]), portWord(port)]),
    data: host32(to),
    comment,
  });
  return [
    ...steps.map(({ from, knock, to, labels }) =>
      element(from, knock.protocol, knock.port, to, joinLabels(labels)),
    ),
    ...repeats.map(({ place, knock }) => element(place, knock.protocol, knock.port, START, 'repeat')),
  ];
}

/** As many labels as fit into a comment, and the number of the others. */
function joinLabels(labels: readonly string[]): string {
  const all = labels.join(', ');
  if (all.length <= MAX_COMMENT) return all;
  let text = '';
  let count = 0;
  for (const label of labels) {
    const longer = text === '' ? label : `${text}, ${label}`;
    if (`${longer}, ${labels.length} more`.length > MAX_COMMENT) break;
    text = longer;
    count++;
  }
  return `${text}, ${labels.length - count} more`;
}

function arrivalElements({ arrivals }: Automaton): Element[] {
  return [
    { key: host32(START), data: { code: 'return' } },
    ...arrivals.map((arrival): Element => {
      const chain =
        arrival.does === 'open'
          ? names.open(arrival.service)
          : `${arrival.does}_${formatDuration(arrival.timeout)}`;
      const user = arrival.does === 'open' && arrival.user !== null ? { comment: arrival.user } : {};
      return { key: host32(arrival.place), data: { code: 'goto', chain }, ...user };
    }),
  ];
}
