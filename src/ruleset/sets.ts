import { MOST_TOKENS } from '../config/tokens.ts';
import type { Config } from '../config/types.ts';
import { formatDuration } from '../inet/duration.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import { portBytes } from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import { DATATYPES, type Datatype } from '../nftables/datatype.ts';
import { prefixElements } from '../nftables/interval.ts';
import { VERDICT } from '../nftables/register.ts';
import type { Element, SetWithElements } from '../nftables/ruleset.ts';
import { MAX_COMMENT } from '../nftables/userdata.ts';
import type { Verdict } from '../nftables/verdict.ts';
import { type Automaton, type Place, START } from './automaton.ts';
import { host32 } from './match.ts';
import { names } from './names.ts';
import { objectsOf } from './service.ts';
import { ADDRESS, dynamicSet, portElement, portElements, putPort } from './set-parts.ts';

const PROTOCOL_PORT = [DATATYPES.inet_proto, DATATYPES.inet_service] as const;

/** All sets and maps: the state, which packets write and swaps keep, and the program with its elements. */
export function compileSets(config: Config, automaton: Automaton): SetWithElements[] {
  return [
    ...stateSets(config),
    ...(automaton.tokens.length > 0 ? TOKEN_SETS : []),
    ...programSets(config, automaton),
  ];
}

function stateSets(config: Config): SetWithElements[] {
  const { services, limits } = config;
  const eachFamily = (make: (family: Family) => SetWithElements) => FAMILIES.map(make);
  return [
    ...eachFamily(family => dynamicSet(names.started(family), family, limits.progress, DATATYPES.mark)),
    ...eachFamily(family => dynamicSet(names.progress(family), family, limits.progress, DATATYPES.mark)),
    ...eachFamily(family => dynamicSet(names.knockers(family), family, limits.progress)),
    ...eachFamily(family => dynamicSet(names.mistaken(family), family, limits.progress)),
    ...services.flatMap(service => objectsOf(config, service).clients),
    ...services.flatMap(service => objectsOf(config, service).users),
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

export function guardsDatagrams({ services }: Config): boolean {
  return services.some(({ ports }) => ports.some(({ protocol }) => protocol === 'udp'));
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

/**
 * The verdict for a knock port in `ports`: the rule that asked goes on, to `goto knock`. If each of these elements went there
 * itself, older kernels, such as Linux 6.1, would check the chains behind `knock`, with all of `arrivals`, once for each
 * (nft_chain_validate). With 400 services that is 28 times as much as this.
 */
const KNOCK: Verdict = { code: 'continue' };

/** Whether an element of `ports` is that of a knock port. In tables of version 1.0.0 it goes to `knock` itself. */
export function isKnock(data: Verdict): boolean {
  return data.code === 'continue' || ('chain' in data && data.chain === 'knock');
}

function programSets(config: Config, automaton: Automaton): SetWithElements[] {
  const prerouting = config.hook === 'prerouting';
  const guards = config.services.flatMap(service => objectsOf(config, service).ports);
  const ports = [
    ...(prerouting
      ? config.services.flatMap(({ ports }) => portElements(ports, { code: 'accept' }))
      : guards),
    ...portElements(config.public, { code: 'accept' }),
    ...automaton.knocks.map(({ protocol, port }) => portElement(protocol, port, KNOCK)),
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
    ...(guardsDatagrams(config) ? [guardedUdp(config)] : []),
  ];
}

/** The guarded UDP ports, for packets that come from one. */
function guardedUdp({ services }: Config): SetWithElements {
  const ranges = services.flatMap(({ ports }) => ports.filter(({ protocol }) => protocol === 'udp'));
  return {
    ...programSet(names.guardedUdp, [DATATYPES.inet_service]),
    elements: ranges.flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, index) => ({ key: portBytes(first + index) })),
    ),
  };
}

function programSet(name: string, types: readonly Datatype[]): SetWithElements {
  return { name, types, dynamic: false, timeout: false, interval: false, elements: [] };
}

function stepElements({ steps, repeats }: Automaton): Element[] {
  const element = (from: Place, protocol: Protocol, port: number, to: Place, comment: string): Element => {
    const key = Buffer.alloc(12);
    key.writeUInt32LE(from);
    putPort(key, 4, protocol, port);
    return { key, data: host32(to), comment };
  };
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
