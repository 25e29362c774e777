import type { Config, Service } from '../config/types.ts';
import { formatDuration } from '../inet/duration.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import type { Protocol } from '../inet/protocol.ts';
import type { ChainWithRules } from '../nftables/ruleset.ts';
import type { Automaton } from './automaton.ts';
import { baseChains, interfaces } from './base-chains.ts';
import { chain, noLinkLocal, onlyNewToUs, perFamily, type Statement } from './chain-parts.ts';
import * as match from './match.ts';
import { names } from './names.ts';
import { hasUsers, opens } from './sets.ts';
import { looksIntoPayload, token, tokenPayload } from './token-chains.ts';

/** The guards ignore a source that knocks faster than this until it slows down: packets a second, and packets at once. */
const KNOCK_RATE = 20;
const KNOCK_BURST = 250;
/** The shortest life of a meter, in milliseconds. It also outlives the longest pause allowed between two knocks. */
const METER_TIMEOUT = 5000;
/** How long a client stays on record after a wrong knock, in milliseconds. */
const MISTAKEN_TIMEOUT = 10 * 60 * 1000;
/** The most events a second for each service. */
const OPENED_RATE = 100;
const REFUSED_RATE = 10;
/**
 * How long a SYN that was let in may be sent again, in milliseconds. Linux sends the last one after 67 s, the BSDs give up
 * after 75 s. The time never starts anew, so that no client can keep half-open connections for later.
 */
const SYN_TIMEOUT = 75 * 1000;
/** How long a connection that was let in stays on record, in milliseconds: as long as connection tracking keeps an idle one. */
const ADMITTED_TIMEOUT = 5 * 24 * 60 * 60 * 1000;
/** All chains with their rules. `label` is the comment on the first rule of the base chain. */
export function compileChains(config: Config, automaton: Automaton, label: string): ChainWithRules[] {
  const guarded = config.services.filter(opens);
  const closed = new Set(guarded.map(service => service.closed));
  const timeouts = (does: 'start' | 'wait') => [
    ...new Set(automaton.arrivals.flatMap(arrival => (arrival.does === does ? [arrival.timeout] : []))),
  ];
  const longest = Math.max(METER_TIMEOUT, ...config.services.map(service => service.knockTimeout));
  return [
    ...(closed.has('drop') ? [chain('closed_drop', match.drop)] : []),
    ...(closed.has('reject') ? [closedReject()] : []),
    ...(closed.has('prohibited') ? [closedProhibited()] : []),
    chain('forget', ...forget(config)),
    ...timeouts('start').map(timeout => start(config, timeout)),
    ...timeouts('wait').map(timeout => wait(config, timeout)),
    ...config.services.map(service => open(config, service)),
    running(),
    resent(),
    exempt(),
    admit(),
    ...guarded.map(service => guard(config, service)),
    ...(automaton.tokens.length > 0 ? [token(config)] : []),
    knock(config, longest),
    advance(config),
    ...(config.strict ? [stray(config)] : []),
    ...(config.interfaces.length > 0 ? [interfaces(config.interfaces)] : []),
    ...(looksIntoPayload(config, automaton) ? tokenPayload(config) : []),
    ...baseChains(config, automaton, label),
  ];
}

/**
 * A closed port does not answer a packet for many hosts. In `input` the kernel keeps `reject` from answering
 * such a packet. In `prerouting` it does not know yet whom the packet is for.
 */
const toManyIsDropped: readonly Statement[] = (['broadcast', 'multicast'] as const).map(type => [
  ...match.toMany(type),
  ...match.drop,
]);

function closedReject(): ChainWithRules {
  return chain(
    'closed_reject',
    // TCP does not know anycast addresses either
    [...match.protocol('tcp'), ...match.notToUs, ...match.drop],
    [...match.protocol('tcp'), { kind: 'reject', with: 'tcp reset' }],
    ...toManyIsDropped,
    [{ kind: 'reject', with: 'port unreachable' }],
  );
}

function closedProhibited(): ChainWithRules {
  return chain('closed_prohibited', ...toManyIsDropped, [{ kind: 'reject', with: 'admin prohibited' }]);
}

/** Takes a client back to the start. */
function forget(config: Config): Statement[] {
  return [names.started, names.progress].flatMap(map =>
    perFamily(config, source => [
      ...match.family(source.family),
      ...match.change(source, { op: 'delete', set: map(source.family), mark: true }),
    ]),
  );
}

/** After a first knock. The client comes from the start, so nothing is stored of it. */
function start(config: Config, timeout: number): ChainWithRules {
  return chain(
    `start_${formatDuration(timeout)}`,
    ...perFamily(config, source => remember(source, names.started(source.family), timeout)),
    match.clearMark,
  );
}

/** After a further knock. */
function wait(config: Config, timeout: number): ChainWithRules {
  return chain(
    `wait_${formatDuration(timeout)}`,
    match.jump('forget'),
    ...perFamily(config, source => remember(source, names.progress(source.family), timeout)),
    match.clearMark,
  );
}

function remember(source: match.Source, set: string, timeout: number): Statement {
  return [...match.family(source.family), ...match.change(source, { op: 'add', set, timeout, mark: true })];
}

/**
 * After the last knock. Only a client that gets a place in the set counts as let in, unless the service has no ports and so no
 * set. The mark says by which sequence.
 */
function open(config: Config, service: Service): ChainWithRules {
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
      ...match.change(source, { op: 'update', set: names.clients(service.name, source.family), timeout }),
      ...told,
    ]),
    match.clearMark,
  );
}

/** Deletes and adds, because `update` would keep the user of an existing element. */
function rememberUser(source: match.Source, service: Service, timeout: number): Statement {
  const set = names.users(service.name, source.family);
  return [
    ...match.family(source.family),
    ...match.change(source, { op: 'delete', set, mark: true }),
    ...match.change(source, { op: 'add', set, timeout, mark: true }),
  ];
}

/** Changes the record of a TCP packet's connection. There is one rule for each family, because a full set ends a rule. */
function record(
  set: (family: Family) => string,
  op: 'update' | 'delete',
  timeout?: number,
): readonly Statement[] {
  return FAMILIES.map(family => [
    ...match.family(family),
    ...match.protocol('tcp'),
    ...match.changeConnection(family, { op, set: set(family), ...(timeout !== undefined && { timeout }) }),
  ]);
}

/**
 * Packets of flows that were let in. Most are plain segments of a connection whose handshake is over. A SYN never counts as
 * one, whatever tracking knows of its ports. Any other packet from the client ends the time in which its SYN may come again.
 * Its last packet ends the record of the connection.
 */
function running(): ChainWithRules {
  return chain(
    'running',
    [...match.tcpGoesOn, ...match.assured, ...match.accept],
    [...match.otherThanTcp, ...match.accept],
    [...match.tcpOpens, ...match.leave],
    ...record(names.syns, 'delete'),
    [...match.tcpEndsNot, ...match.accept],
    ...record(names.admitted, 'delete'),
    match.accept,
  );
}

/** Accepts a SYN that was let in before and is sent again, if its handshake is not over. */
function resent(): ChainWithRules {
  return chain(
    'resent',
    ...FAMILIES.map(family => [
      ...match.halfOpen,
      ...match.connectionIn(family, names.syns(family)),
      ...match.accept,
    ]),
  );
}

/** Accepts sources that need no knock, and connections that were let in, whether or not tracking still knows them. */
function exempt(): ChainWithRules {
  return chain(
    'exempt',
    ...FAMILIES.map(family => [...match.clientIn(whole(family), names.allowed(family)), ...match.accept]),
    [...match.tcpOpens, ...match.goto('resent')],
    ...[names.sessions, names.admitted].flatMap(set =>
      FAMILIES.map(family => [...match.connectionIn(family, set(family)), ...match.goto('running')]),
    ),
    [...match.hasPeer, ...match.goto('running')],
  );
}

/** Lets a new connection in and puts it on record. If the record is full, it lets the connection in all the same. */
function admit(): ChainWithRules {
  return chain(
    'admit',
    [...match.otherThanTcp, ...match.accept],
    ...record(names.syns, 'update', SYN_TIMEOUT),
    ...record(names.admitted, 'update', ADMITTED_TIMEOUT),
    match.accept,
  );
}

/** A whole address, whatever `prefix` says. */
function whole(family: Family): match.Source {
  return { family, length: family === 'ipv4' ? 32 : 128 };
}

/** Lets in exempt sources, exempt connections, and new connections of clients. To all others the port looks closed. */
function guard(config: Config, service: Service): ChainWithRules {
  const { name, singleUse, closed, ports } = service;
  const serves = (protocol: Protocol) => ports.some(range => range.protocol === protocol);
  const close = match.goto(`closed_${closed}`);
  const admit = perFamily(config, source => {
    const set = names.clients(name, source.family);
    return [
      ...match.clientIn(source, set),
      ...(singleUse ? match.change(source, { op: 'delete', set }) : []),
      ...(singleUse && hasUsers(service)
        ? match.change(source, { op: 'delete', set: names.users(name, source.family), mark: true })
        : []),
      ...match.count(names.accepted(name)),
      ...match.goto('admit'),
    ];
  });
  return chain(
    names.guard(name),
    // datagrams of a flow that was let in but has had no answer yet
    ...(serves('udp') ? [[...match.protocol('udp'), ...match.confirmed, ...match.accept]] : []),
    match.jump('exempt'),
    // only a SYN or a datagram needs an opening, or uses one up
    ...(serves('tcp') ? [[...match.tcpIsNoSyn, ...match.count(names.refused(name)), ...close]] : []),
    ...admit,
    match.count(names.refused(name)),
    ...(config.log.refused ? [match.report(`refused ${name}`, config.log.group, REFUSED_RATE)] : []),
    close,
  );
}

/** Looks at knocks, unless the source sends too many. */
function knock(config: Config, longest: number): ChainWithRules {
  return chain(
    'knock',
    ...onlyNewToUs,
    ...noLinkLocal,
    ...perFamily(config, source => [
      ...match.family(source.family),
      ...match.change(source, {
        op: 'update',
        set: names.knockers(source.family),
        timeout: longest,
        limit: { kind: 'limit', rate: KNOCK_RATE, unit: 'second', burst: KNOCK_BURST },
      }),
      ...match.goto('advance'),
    ]),
  );
}

/** Takes the client from its place to the next. After a wrong knock it starts over, and the same knock may be a first one. */
function advance(config: Config): ChainWithRules {
  const step = [...match.markFromKnock(names.steps), ...match.markVerdict(names.arrivals)];
  return chain(
    'advance',
    match.clearMark,
    ...[names.started, names.progress].flatMap(map =>
      perFamily(config, source => match.markFromClient(source, map(source.family))),
    ),
    step,
    match.count(names.wrongKnocks),
    // only clients among the knockers come this far, so a flood fills this set no further than that one
    ...perFamily(config, source => [
      ...match.family(source.family),
      ...match.change(source, {
        op: 'update',
        set: names.mistaken(source.family),
        timeout: MISTAKEN_TIMEOUT,
      }),
    ]),
    match.jump('forget'),
    match.clearMark,
    step,
  );
}

/**
 * Neither a knock nor a service: a client in mid-sequence starts over, unless a program listens there. Every client in
 * mid-sequence is among the knockers. Most sources are not, so the rules ask that first to keep packets cheap.
 */
function stray(config: Config): ChainWithRules {
  return chain(
    'stray',
    ...perFamily(config, source => [
      ...match.clientNotIn(source, names.knockers(source.family)),
      ...match.leave,
    ]),
    [...match.ctState('related'), ...match.leave],
    ...onlyNewToUs,
    [...match.someoneListens, ...match.leave],
    [...match.protocol('tcp'), ...match.goto('forget')],
    [...match.protocol('udp'), ...match.goto('forget')],
  );
}
