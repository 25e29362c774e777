import type { Config, Service } from '../config/types.ts';
import { FAMILIES } from '../inet/family.ts';
import type { Protocol } from '../inet/protocol.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import type { ChainWithRules, Element, NamedCounter, SetWithElements } from '../nftables/ruleset.ts';
import { chain, perFamily } from './chain-parts.ts';
import * as elements from './elements.ts';
import type { Statement } from './match.ts';
import * as match from './match.ts';
import { names } from './names.ts';
import { dynamicSet, portElements } from './set-parts.ts';

/** The most events a second for each service. */
const OPENED_RATE = 100;
const REFUSED_RATE = 10;

/** Whether the service opens anything. Without ports it is only an event. */
export function opens({ ports }: Service): boolean {
  return ports.length > 0;
}

/** Whether the service tells its clients apart by the user that they came in as. */
function hasUsers({ sequences, tokens }: Service): boolean {
  return tokens.length > 0 || sequences.some(({ user }) => user !== null);
}

/** What the objects of a service depend on, beside the service. */
type Settings = Pick<Config, 'prefix' | 'limits' | 'log'>;

/** The objects of a table that only one service has. All but the first two are empty if it opens nothing. */
interface ServiceObjects {
  readonly counters: readonly NamedCounter[];
  readonly open: ChainWithRules;
  readonly guard: readonly ChainWithRules[];
  /** For each guarded port, the way to the guard. */
  readonly ports: readonly Element[];
  readonly clients: readonly SetWithElements[];
  /** Empty without users. */
  readonly users: readonly SetWithElements[];
}

const KNOWN = new WeakMap<Service, { readonly settings: Settings; readonly objects: ServiceObjects }>();

/** The objects of a service. For the same service and settings, as {@link alike} makes them, they are the same values. */
export function objectsOf({ prefix, limits, log }: Settings, service: Service): ServiceObjects {
  const known = KNOWN.get(service);
  if (known?.settings.prefix === prefix && known.settings.limits === limits && known.settings.log === log)
    return known.objects;
  const settings = { prefix, limits, log };
  const objects = make(settings, service);
  KNOWN.set(service, { settings, objects });
  return objects;
}

/**
 * The configuration, in which each part that equals one of the other is that very value. Most saves change few services. So most
 * objects are made once for both, and are compared at a glance.
 */
export function alike(config: Config, other: Config): Config {
  const services = new Map(other.services.map(service => [service.name, service]));
  return {
    ...config,
    prefix: common(config.prefix, other.prefix),
    limits: common(config.limits, other.limits),
    log: common(config.log, other.log),
    services: config.services.map(service => common(service, services.get(service.name))),
  };
}

/** The other value if both are equal. */
function common<T>(value: T, other: T | undefined): T {
  return other !== undefined && JSON.stringify(value) === JSON.stringify(other) ? other : value;
}

function make(settings: Settings, service: Service): ServiceObjects {
  const { name, ports } = service;
  const { clients: size } = settings.limits;
  const isGuarded = opens(service);
  const counters = [names.opened(name), ...(isGuarded ? [names.accepted(name), names.refused(name)] : [])];
  return {
    counters: counters.map(newCounter),
    open: open(settings, service),
    guard: isGuarded ? [guard(settings, service)] : [],
    ports: portElements(ports, { code: 'goto', chain: names.guard(name) }),
    clients: isGuarded ? FAMILIES.map(family => dynamicSet(names.clients(name, family), family, size)) : [],
    users:
      isGuarded && hasUsers(service)
        ? FAMILIES.map(family => dynamicSet(names.users(name, family), family, size, DATATYPES.mark))
        : [],
  };
}

export function newCounter(name: string): NamedCounter {
  return { name, packets: 0, bytes: 0 };
}

/**
 * After the last knock. Only a client that gets a place in the set counts as let in, unless the service has no ports and so no
 * set. The mark says by which sequence.
 */
function open(config: Settings, service: Service): ChainWithRules {
  const timeout = service.openFor;
  const told = [
    ...match.count(names.opened(service.name)),
    ...match.report(`opened ${service.name}`, config.log.group, OPENED_RATE),
  ];
  if (!opens(service)) return chain(names.open(service.name), match.jump('forget'), told, match.clearMark);
  return chain(
    names.open(service.name),
    match.jump('forget'),
    ...(hasUsers(service) ? perFamily(config, source => rememberUser(source, service, timeout)) : []),
    ...perFamily(config, source => [
      ...match.family(source.family),
      ...elements.change(source, { op: 'update', set: names.clients(service.name, source.family), timeout }),
      ...told,
    ]),
    match.clearMark,
  );
}

/** Deletes and adds, because `update` would keep the user of an existing element. */
function rememberUser(source: elements.Source, service: Service, timeout: number): Statement {
  const set = names.users(service.name, source.family);
  return [
    ...match.family(source.family),
    ...elements.change(source, { op: 'delete', set, mark: true }),
    ...elements.change(source, { op: 'add', set, timeout, mark: true }),
  ];
}

/** Lets in exempt sources, exempt connections, and new connections of clients. To all others the port looks closed. */
function guard(config: Settings, service: Service): ChainWithRules {
  const { name, singleUse, closed, ports } = service;
  const serves = (protocol: Protocol) => ports.some(range => range.protocol === protocol);
  const close = match.goto(`closed_${closed}`);
  const admit = perFamily(config, source => {
    const set = names.clients(name, source.family);
    return [
      ...elements.clientIn(source, set),
      ...(singleUse ? elements.change(source, { op: 'delete', set }) : []),
      ...(singleUse && hasUsers(service)
        ? elements.change(source, { op: 'delete', set: names.users(name, source.family), mark: true })
        : []),
      ...match.count(names.accepted(name)),
      ...match.goto('admit'),
    ];
  });
  return chain(
    names.guard(name),
    // datagrams of a flow that was let in but has had no answer yet; a bridge or a router that passes on a copy of one to many
    // hosts has tracking confirm the flow before it comes here
    ...(serves('udp')
      ? [[...match.protocol('udp'), ...match.confirmed, ...match.notToMany, ...match.accept]]
      : []),
    match.jump('exempt'),
    // only a SYN or a datagram needs an opening, or uses one up
    ...(serves('tcp') ? [[...match.tcpIsNoSyn, ...match.count(names.refused(name)), ...close]] : []),
    ...admit,
    match.count(names.refused(name)),
    ...(config.log.refused ? [match.report(`refused ${name}`, config.log.group, REFUSED_RATE)] : []),
    close,
  );
}
