import type { Config } from '../config/types.ts';
import { formatDuration } from '../inet/duration.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import type { ChainWithRules } from '../nftables/ruleset.ts';
import type { Automaton } from './automaton.ts';
import { baseChains, interfaces, posing } from './base-chains.ts';
import { chain, noLinkLocal, onlyNewToUs, perFamily } from './chain-parts.ts';
import * as elements from './elements.ts';
import type { Statement } from './match.ts';
import * as match from './match.ts';
import { names } from './names.ts';
import { objectsOf, opens } from './service.ts';
import { guardsDatagrams } from './sets.ts';
import { looksIntoPayload, token, tokenPayload } from './token-chains.ts';

/** The guards ignore a source that knocks faster than this until it slows down: packets a second, and packets at once. */
const KNOCK_RATE = 20;
const KNOCK_BURST = 250;
/** The shortest life of a meter, in milliseconds. It also outlives the longest pause allowed between two knocks. */
const METER_TIMEOUT = 5000;
/** How long a client stays on record after a wrong knock, in milliseconds. */
const MISTAKEN_TIMEOUT = 10 * 60 * 1000;
/**
 * How long a SYN that was let in may be sent again, in milliseconds. Linux sends the last one after 67 s, the BSDs give up
 * after 75 s. The time never starts again, so that no client can keep half-open connections for later.
 */
const SYN_TIMEOUT = 75 * 1000;
/**
 * How long a connection that was let in stays on record, in milliseconds. Connection tracking keeps an idle one for the
 * same time.
 */
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
    ...config.services.map(service => objectsOf(config, service).open),
    running(),
    resent(),
    exempt(),
    admit(),
    ...guarded.flatMap(service => objectsOf(config, service).guard),
    ...(automaton.tokens.length > 0 ? [token(config)] : []),
    knock(config, longest),
    advance(config),
    ...(config.strict ? [stray(config)] : []),
    ...(guardsDatagrams(config) ? [posing()] : []),
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
      ...elements.change(source, { op: 'delete', set: map(source.family), mark: true }),
    ]),
  );
}

/** After a first knock. The client comes from the start, so no set has it. */
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

function remember(source: elements.Source, set: string, timeout: number): Statement {
  return [
    ...match.family(source.family),
    ...elements.change(source, { op: 'add', set, timeout, mark: true }),
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
    ...elements.changeConnection(family, { op, set: set(family), ...(timeout !== undefined && { timeout }) }),
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
      ...elements.connectionIn(family, names.syns(family)),
      ...match.accept,
    ]),
  );
}

/** Accepts sources that need no knock, and connections that were let in, whether or not tracking still knows them. */
function exempt(): ChainWithRules {
  return chain(
    'exempt',
    ...FAMILIES.map(family => [...elements.clientIn(whole(family), names.allowed(family)), ...match.accept]),
    [...match.tcpOpens, ...match.goto('resent')],
    ...[names.sessions, names.admitted].flatMap(set =>
      FAMILIES.map(family => [...elements.connectionIn(family, set(family)), ...match.goto('running')]),
    ),
    [...match.hasPeer, ...match.goto('running')],
  );
}

/** Lets a new connection in and puts it on record. If the record is full, it still lets the connection in. */
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
function whole(family: Family): elements.Source {
  return { family, length: family === 'ipv4' ? 32 : 128 };
}

/** Looks at knocks, unless the source sends too many. */
function knock(config: Config, longest: number): ChainWithRules {
  return chain(
    'knock',
    ...onlyNewToUs,
    ...noLinkLocal,
    ...perFamily(config, source => [
      ...match.family(source.family),
      ...elements.change(source, {
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
  const step = [...elements.markFromKnock(names.steps), ...elements.markVerdict(names.arrivals)];
  return chain(
    'advance',
    match.clearMark,
    ...[names.started, names.progress].flatMap(map =>
      perFamily(config, source => elements.markFromClient(source, map(source.family))),
    ),
    step,
    match.count(names.wrongKnocks),
    // only clients among the knockers come this far, so a flood fills this set no further than that one
    ...perFamily(config, source => [
      ...match.family(source.family),
      ...elements.change(source, {
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
      ...elements.clientNotIn(source, names.knockers(source.family)),
      ...match.leave,
    ]),
    ...onlyNewToUs,
    [...match.someoneListens, ...match.leave],
    [...match.protocol('tcp'), ...match.goto('forget')],
    [...match.protocol('udp'), ...match.goto('forget')],
  );
}
