/** The compiled ruleset against a model in plain words. */

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import type { Config } from '../../src/config/types.ts';
import type { Port } from '../../src/inet/port.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { names } from '../../src/ruleset/names.ts';
import { readStatus } from '../../src/ruleset/status.ts';
import { config, KNOCKS } from './arbitrary.ts';
import { Machine, type Packet, TCP } from './machine.ts';
import { Model } from './model.ts';

const CLIENTS = [
  '192.0.2.1',
  '192.0.2.2',
  '192.0.2.200',
  '10.1.2.3',
  '2001:db8::1',
  '2001:db8::2',
  '2001:db8:1::1',
].map(address => ({
  family: address.includes(':') ? ('ipv6' as const) : ('ipv4' as const),
  saddr: address.includes(':') ? ipv6(address) : Buffer.from(address.split('.').map(Number)),
}));

function ipv6(text: string): Buffer {
  const [head = '', tail = ''] = text.split('::');
  const words = (part: string) => part.split(':').filter(Boolean);
  const zeros = Array<string>(8 - words(head).length - words(tail).length).fill('0');
  const all = [...words(head), ...zeros, ...words(tail)].map(word => word.padStart(4, '0'));
  return Buffer.from(all.join(''), 'hex');
}

const PORTS = {
  guarded: ['22/tcp', '8443/tcp', '53/udp', '8001/tcp'],
  other: ['9999/tcp', '9999/udp', '80/tcp', '6001/udp'],
} as const;

function port(text: string): Port {
  const [number, protocol] = text.split('/');
  return { protocol: protocol === 'udp' ? 'udp' : 'tcp', port: Number(number) };
}

/** Most packets are new and clean. */
const PLAIN: Partial<Packet> = {};
const oddity: fc.Arbitrary<Partial<Packet>> = fc.oneof(
  { weight: 12, arbitrary: fc.constant(PLAIN) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Partial<Packet>>(
      { ctState: 'invalid' },
      { ctState: 'established', ctStatusConfirmed: true },
      { ctState: 'established', ctStatusConfirmed: true, ctStatusAssured: true },
      { ctState: 'established', ctStatusConfirmed: true, ctStatusAssured: true, tcpFlags: TCP.ack },
      { ctState: 'established', ctStatusConfirmed: true, tcpFlags: TCP.fin | TCP.ack },
      { ctState: 'established', ctStatusConfirmed: true, ctReply: true },
      { ctState: 'established', ctStatusConfirmed: true, ctReply: true, tcpFlags: TCP.syn | TCP.ack },
      { tcpFlags: TCP.ack, hasPeer: true },
      { hasPeer: true },
      { ctState: 'related' },
      { ctStatusConfirmed: true },
      { tcpFlags: TCP.ack },
      { tcpFlags: TCP.syn | TCP.ack },
      { tcpFlags: TCP.syn | TCP.psh },
      { tcpFlags: TCP.fin },
      { addressType: 'broadcast' },
      { addressType: 'broadcast', ctStatusConfirmed: true },
      { listener: true },
      { iif: 'lo' },
      { iif: 'eth1' },
      { iif: 'docker0' },
    ),
  },
);

/** A client's action: `next` is a right knock, if one is right. */
type Target = { readonly next: number } | { readonly port: Port };
const target: fc.Arbitrary<Target> = fc.oneof(
  { weight: 6, arbitrary: fc.nat(3).map(next => ({ next })) },
  { weight: 3, arbitrary: fc.constantFrom(...KNOCKS).map(text => ({ port: port(text) })) },
  { weight: 1, arbitrary: fc.constantFrom(...PORTS.other).map(text => ({ port: port(text) })) },
  { weight: 2, arbitrary: fc.constantFrom(...PORTS.guarded).map(text => ({ port: port(text) })) },
);

const event = fc.record({
  pause: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(0, 1, 300) },
    { weight: 2, arbitrary: fc.constantFrom(999, 1000, 1001, 1999, 2000, 4999, 5000, 10_000, 90_000) },
  ),
  // mostly the same one: steps want company
  client: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.nat(CLIENTS.length - 1) },
  ),
  target,
  oddity,
  mark: fc.constantFrom(0, 0, 7),
});
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

const SYN: Packet = {
  family: 'ipv4',
  saddr: Buffer.from([192, 0, 2, 1]),
  sport: 40_000,
  protocol: 'tcp',
  dport: 22,
  tcpFlags: TCP.syn,
  ctState: 'new',
  ctStatusConfirmed: false,
  ctStatusAssured: false,
  ctReply: false,
  hasPeer: false,
  addressType: 'local',
  listener: false,
  iif: 'eth0',
  mark: 0,
};

function packetOf({ client, target, oddity, mark }: Event, model: Model): Packet {
  const from = CLIENTS[client] ?? SYN;
  const right = 'next' in target ? model.nextKnocks(model.client(from)) : [];
  const to = 'next' in target ? (right[target.next % right.length] ?? port(KNOCKS[0])) : target.port;
  return { ...SYN, ...from, protocol: to.protocol, dport: to.port, mark, ...oddity };
}

/** The knocks that lead to each place, by its bytes, from the elements of `steps` alone. */
function knocksByPlace(machine: Machine): Map<string, readonly Port[]> {
  const places = new Map<string, readonly Port[]>([['00000000', []]]);
  const steps = machine.elements(names.steps).filter(({ comment }) => comment !== 'repeat');
  for (let found = true; found; ) {
    found = false;
    for (const { key, data } of steps) {
      const made = places.get(key.toString('hex', 0, 4));
      const to = Buffer.isBuffer(data) ? data.toString('hex') : '';
      if (!made || places.has(to)) continue;
      places.set(to, [...made, { protocol: key[4] === 17 ? 'udp' : 'tcp', port: key.readUInt16BE(8) }]);
      found = true;
    }
  }
  return places;
}

interface State {
  /** By client: what it knocked, and until when that counts. */
  readonly positions: Readonly<Record<string, unknown>>;
  /** By service and client: the user, and until when. */
  readonly openings: Readonly<Record<string, unknown>>;
  readonly counters: Readonly<Record<string, number>>;
}

function stateOfModel(config: Config, model: Model): State {
  const clients = CLIENTS.map(from => model.client(from));
  return {
    positions: fromPairs(clients.map(client => [client, model.position(client)])),
    openings: fromPairs(
      config.services.flatMap(({ name }) =>
        clients.map(client => [`${name} ${client}`, model.opening(name, client)] as const),
      ),
    ),
    counters: {
      wrong_knocks: model.wrongKnocks,
      ...Object.fromEntries(
        config.services.flatMap(({ name }) => [
          [`${name}_opened`, model.opened.get(name) ?? 0],
          [`${name}_accepted`, model.accepted.get(name) ?? 0],
          [`${name}_refused`, model.refused.get(name) ?? 0],
        ]),
      ),
    },
  };
}

function stateOfMachine(
  { services }: Config,
  model: Model,
  machine: Machine,
  places: ReadonlyMap<string, readonly Port[]>,
): State {
  const clientOf = (family: 'ipv4' | 'ipv6', key: Buffer) => model.client({ family, saddr: key });
  const bytes = (data: unknown) => (Buffer.isBuffer(data) ? data.toString('hex') : '');
  const families = ['ipv4', 'ipv6'] as const;
  const positions = families.flatMap(family =>
    [names.started(family), names.progress(family)].flatMap((set, further) =>
      machine.elements(set).map(({ key, data, expires = 0 }) => {
        const knocks = places.get(bytes(data)) ?? [];
        if (knocks.length > 1 !== further > 0) throw new Error(`${knocks.length} knocks are kept in ${set}`);
        return [clientOf(family, key), { knocks, until: machine.now + expires }] as const;
      }),
    ),
  );
  if (new Set(positions.map(([client]) => client)).size < positions.length)
    throw new Error('a client is at two places');
  const openings = services.flatMap(({ name, sequences }) =>
    families.flatMap(family =>
      machine.elements(names.clients(name, family)).map(({ key, expires = 0 }) => {
        const until = machine.now + expires;
        const client = clientOf(family, key);
        if (sequences.every(({ user }) => user === null))
          return [`${name} ${client}`, { user: null, until }] as const;
        const recorded = machine.elements(names.users(name, family)).find(other => other.key.equals(key));
        const knocks = places.get(bytes(recorded?.data));
        const user = sequences.find(sequence => isDeepStrictEqual(sequence.knocks, knocks))?.user;
        if (machine.now + (recorded?.expires ?? 0) !== until) throw new Error('user and client expire apart');
        return [`${name} ${client}`, { user, until }] as const;
      }),
    ),
  );
  return {
    positions: fromPairs(positions),
    openings: fromPairs(openings),
    counters: Object.fromEntries(machine.counters),
  };
}

function fromPairs(pairs: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(
    pairs.filter(([, value]) => value !== undefined).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function expectSame(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(
    `${what}: the ruleset has ${JSON.stringify(actual)}, the words ${JSON.stringify(expected)}`,
  );
}

function play(
  config: Config,
  events: readonly Event[],
): { readonly machine: Machine; readonly model: Model } {
  const machine = new Machine(compile(config, '0'));
  const model = new Model(config);
  const places = knocksByPlace(machine);
  for (const [index, event] of events.entries()) {
    machine.now += event.pause;
    model.now += event.pause;
    const packet = packetOf(event, model);
    const expected = model.receive(packet);
    const outcome = machine.receive(packet);
    const what = `packet ${index} to ${packet.dport}/${packet.protocol}`;
    expectSame(`${what}: verdict`, outcome.verdict, expected.seen);
    expectSame(`${what}: mark`, outcome.mark, expected.isKnock ? 0 : packet.mark);
    const [there, wanted] = [stateOfMachine(config, model, machine, places), stateOfModel(config, model)];
    for (const part of ['positions', 'openings', 'counters'] as const)
      expectSame(
        `${what}: ${part}`,
        fromPairs(Object.entries(there[part])),
        fromPairs(Object.entries(wanted[part])),
      );
  }
  return { machine, model };
}

const stream = fc.array(event, { maxLength: 60, size: 'max' });

t.test('every packet does what the rules of the game say', async t => {
  const seen = { packets: 0, opened: 0, accepted: 0, wrong: 0 };
  fc.assert(
    fc.property(config, stream, (config, events) => {
      const { model } = play(config, events);
      seen.packets += events.length;
      seen.wrong += model.wrongKnocks;
      for (const count of model.opened.values()) seen.opened += count;
      for (const count of model.accepted.values()) seen.accepted += count;
    }),
    { numRuns: 500 },
  );
  t.ok(
    Object.values(seen).every(count => count > 100),
    `that was a game: ${JSON.stringify(seen)}`,
  );
});

t.test('the status says which clients are in, which are knocking, how far and for how long', async () => {
  fc.assert(
    fc.property(config, stream, (config, events) => {
      const { machine, model } = play(config, events);
      const status = readStatus(machine.snapshot(), true);
      const clients = [...new Set(CLIENTS.map(from => model.client(from)))];
      const left = (until: number) => (until - model.now) / 1000;
      const sorted = (list: readonly unknown[]) => list.map(item => JSON.stringify(item)).toSorted();
      for (const { name } of config.services) {
        expectSame(
          `clients of ${name}`,
          sorted(status.services[name]?.clients.map(({ user, expires }) => [user, expires]) ?? []),
          sorted(
            clients
              .map(client => model.opening(name, client))
              .flatMap(opening => (opening ? [[opening.user, left(opening.until)]] : [])),
          ),
        );
      }
      const expected = clients.flatMap(client => {
        const position = model.position(client);
        if (!position) return [];
        const { knocks, until } = position;
        return config.services.flatMap(({ name, sequences }) =>
          sequences
            .filter(sequence => isDeepStrictEqual(sequence.knocks.slice(0, knocks.length), knocks))
            .map(({ user, knocks: all }) => [name, user, knocks.length, all.length, left(until)]),
        );
      });
      const told = status.knocking.map(({ service, user, step, of, expires }) => [
        service,
        user,
        step,
        of,
        expires,
      ]);
      expectSame('knocking', sorted(told), sorted(expected));
      expectSame('wrong knocks', status.wrongKnocks, model.wrongKnocks);
    }),
    { numRuns: 100 },
  );
});

const SSH = { ports: [22], sequence: [7001, 7003, 7005] };

function one(services: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) {
  const config = parseConfig(JSON.stringify({ services, ...more }), 'FILE', {}).config;
  return { config, machine: new Machine(compile(config, '0')) };
}

function knock(dport: number, more: Partial<Packet> = {}): Packet {
  return { ...SYN, dport, ...more };
}

t.test('what only input can know to be for a guarded port meets its guard there, once', async t => {
  const { saddr } = SYN;
  for (const hook of ['input', 'prerouting'])
    for (const policy of ['accept', 'drop']) {
      const begin = (more: Readonly<Record<string, unknown>> = {}) =>
        one({ ssh: SSH, web: { ports: [443], sequence: [9001, 9003, 9005] } }, { hook, policy, ...more })
          .machine;
      for (const [what, packet] of [
        ['a helper redirects it', knock(22, { ctState: 'related', sentTo: 4000 })],
        ['an address of another routing table', knock(22, { addressType: 'unicast', isDelivered: true })],
      ] as const) {
        const which = `${hook}, ${policy}: ${what}`;
        const machine = begin();
        const { counters } = machine;
        t.equal(machine.receive(packet).verdict, 'drop', which);
        machine.put(names.clients('web', 'ipv4'), { key: saddr, timeout: 10_000 });
        t.equal(machine.receive(packet).verdict, 'drop', `${which}, in for another service`);
        machine.put(names.clients('ssh', 'ipv4'), { key: saddr, timeout: 10_000 });
        t.equal(machine.receive(packet).verdict, 'accept', `${which}, in`);
        t.match(Object.fromEntries(counters), { ssh_refused: 2, ssh_accepted: 1, web_refused: 0 }, which);
        t.equal(begin({ allow: ['192.0.2.1'] }).receive(packet).verdict, 'accept', `${which}, allowed`);
        t.equal(begin({ interfaces: ['eth9'] }).receive(packet).verdict, 'accept', `${which}, elsewhere`);
      }
      const error = begin().receive({
        ...knock(0),
        protocol: 'icmp',
        ctState: 'related',
        ctStatusConfirmed: true,
      });
      t.equal(error.verdict, 'accept', `${hook}, ${policy}: an error about a connection`);
    }
});

t.test(
  'a source that knocks faster than 20 a second, after 250 at once, is not looked at until it slows down',
  async t => {
    const { machine } = one({ ssh: SSH });
    const wrong = () => machine.counters.get(names.wrongKnocks);
    for (let count = 0; count < 300; count++) machine.receive(knock(7005));
    t.equal(wrong(), 250, 'of 300 at once');
    t.equal(machine.receive(knock(7001)).verdict, 'accept', 'it takes its way as all others do');
    t.strictSame(machine.elements(names.started('ipv4')), [], 'but it is no first knock');
    const other = knock(7001, { saddr: Buffer.from([192, 0, 2, 9]) });
    machine.receive(other);
    t.equal(machine.elements(names.started('ipv4')).length, 1, 'another source is looked at');
    for (let count = 0; count < 100; count++) {
      machine.now += 10;
      machine.receive(knock(7005));
    }
    t.equal(wrong(), 250 + 20, '100 more in one second');
    machine.now += 1000;
    machine.receive(knock(7001));
    t.equal(machine.elements(names.started('ipv4')).length, 2, 'after a second of silence');
  },
);

t.test('a flood of first knocks from everywhere does not push out a client that is further on', async t => {
  const { machine } = one({ ssh: SSH }, { limits: { progress: 100 } });
  machine.receive(knock(7001));
  machine.receive(knock(7003));
  for (let host = 0; host < 200; host++)
    machine.receive(knock(7001, { saddr: Buffer.from([198, 51, 100, host]) }));
  t.equal(
    machine.elements(names.started('ipv4')).length,
    99,
    'those who knock first are as many as the meters',
  );
  t.equal(machine.elements(names.progress('ipv4')).length, 1);
  machine.now += 4999;
  machine.receive(knock(7005));
  t.equal(machine.receive(knock(22)).verdict, 'accept');
});

t.test('a full set of clients lets in those that are in, and nobody else', async t => {
  const { machine } = one({ ssh: SSH }, { limits: { clients: 1 } });
  for (const host of [1, 2]) {
    const from = { saddr: Buffer.from([198, 51, 100, host]) };
    for (const port of [7001, 7003, 7005]) t.equal(machine.receive(knock(port, from)).mark, 0);
    t.equal(machine.receive(knock(22, from)).verdict, host === 1 ? 'accept' : 'drop');
  }
});

t.test('a session on record goes on, though no SYN of it is let in', async t => {
  for (const policy of ['accept', 'drop']) {
    const { machine } = one({ ssh: SSH }, { policy });
    const key = Buffer.from([...[192, 0, 2, 1], ...[40_000 >> 8, 40_000 & 0xff, 0, 0], ...[0, 22, 0, 0]]);
    machine.put(names.sessions('ipv4'), { key, timeout: 1000 });
    t.equal(machine.receive(knock(22, { tcpFlags: TCP.ack })).verdict, 'accept', policy);
    t.equal(machine.receive(knock(22)).verdict, 'drop', 'a SYN');
    t.equal(machine.receive(knock(22, { tcpFlags: TCP.ack, sport: 40_001 })).verdict, 'drop', 'another port');
    machine.now += 1000;
    t.equal(machine.receive(knock(22, { tcpFlags: TCP.ack })).verdict, 'drop', 'at the end of its time');
  }
});

t.test(
  'the log line of an opening carries the place of the sequence, and there are at most 100 at once',
  async t => {
    const { machine } = one(
      { admin: { ports: [22], sequences: { alice: [7001, 7003], bob: [7001, 7005] } } },
      { log: { group: 5 } },
    );
    const places = knocksByPlace(machine);
    const logs = Array.from({ length: 120 }, (_, host) =>
      [7001, host % 2 === 0 ? 7003 : 7005].flatMap(
        port => machine.receive(knock(port, { saddr: Buffer.from([198, 51, 100, host]) })).logs,
      ),
    ).flat();
    t.equal(logs.length, 100);
    t.equal(machine.counters.get('admin_opened'), 120);
    for (const [index, { prefix, group, mark }] of logs.entries()) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(mark);
      t.match(
        { prefix, group, last: places.get(bytes.toString('hex'))?.at(-1)?.port },
        {
          prefix: 'opened admin',
          group: 5,
          last: index % 2 === 0 ? 7003 : 7005,
        },
      );
    }
  },
);

t.test('clients stay where they are when other services come and go', async () => {
  fc.assert(
    fc.property(config, stream, (config, events) => {
      const others = one({ other: { ports: ['7999/tcp'], sequence: [7777, 7779, 7778] } }).config;
      const more = { ...config, services: [...others.services, ...config.services] };
      const { machine, model } = play(config, events);
      machine.swap(compile(more, '0'));
      const before = stateOfModel(config, model);
      const after = stateOfMachine(config, model, machine, knocksByPlace(machine));
      expectSame('positions', after.positions, before.positions);
      expectSame('openings', after.openings, before.openings);
      for (const [name, count] of Object.entries(before.counters))
        expectSame(name, after.counters[name], count);
    }),
    { numRuns: 50 },
  );
});
