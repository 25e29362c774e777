/** The lines that other programs read from the supervisor's socket. */
import { once } from 'node:events';
import { mkdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import t from 'tap';
import { followEvents, type Message } from '../../src/events/follow.ts';
import { read, socketIn } from '../events/reader.ts';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

/** A file with this number of errors, each of which is an event. */
const errors = (count: number) => JSON.stringify({ services: {}, public: Array(count).fill('none') });

const withoutTime = ({ time: _, ...rest }: Readonly<Record<string, unknown>>) => rest;

t.test('a reader gets the state, and then each event as the journal has it', { skip }, async t => {
  const { world, environment, event, events } = await supervised(t, {
    services: {
      ssh,
      admin: { ports: [8443], sequences: { bob: [7001, '7004/udp', 7006] }, openFor: '1m' },
    },
  });
  const client = world.host('client');
  await client.knock(world.server.ipv4, ['7001/tcp', '7004/udp', '7006/tcp']);
  await event('opened');
  const reader = await read(socketIn(environment));
  t.match(reader.snapshot, {
    event: 'snapshot',
    file: world.configFile,
    table: 'knockd',
    services: ['ssh', 'admin'],
    status: /^guarding ssh, admin; 1 in; /,
    clients: [{ service: 'admin', client: world.client.ipv4, user: 'bob' }],
    more: 0,
  });
  t.match(events().find(it => it.event === 'opened')?.openFor, 60);
  const before = events().filter(it => it.event).length;
  await client.knock(world.server.ipv4, knocks);
  await event('opened');
  world.write({ services: { ssh } });
  await event('swapped');
  await reader.find(it => it.event === 'swapped');
  world.write('{ "services": { "ssh": [] } }');
  await event('invalid');
  await reader.find(it => it.event === 'invalid');
  t.same(
    reader.told().map(withoutTime),
    events()
      .filter(it => it.event)
      .slice(before)
      .map(withoutTime),
  );
  t.match(reader.told()[0], { event: 'opened', service: 'ssh', client: world.client.ipv4, openFor: 30 });

  world.write({ services: { ssh }, log: { level: 'silent' } });
  await reader.find(it => it.event === 'unchanged');
  await client.knock(world.server.ipv6, knocks);
  t.match(
    await reader.find(it => it.client === world.client.ipv6),
    { event: 'opened', service: 'ssh' },
    'also what the journal leaves out by its level',
  );
  const { stdout } = await world.run('server', 'ss', ['--no-header', '-tuln']);
  t.equal(stdout, '', 'nothing listens on a network');
});

t.test(
  'if nine of ten readers never read, the tenth gets everything, and the others are dropped',
  { skip },
  async t => {
    const { world, environment, supervisor, event, events } = await supervised(t, { services: { ssh } });
    const path = socketIn(environment);
    const idle = await Promise.all(
      Array.from({ length: 9 }, async () => {
        const socket = connect(path).on('error', () => {});
        await once(socket, 'connect');
        return socket.pause();
      }),
    );
    const reader = await read(path);
    const dropped = () => supervisor.lines().filter(line => line.includes('did not read')).length;
    for (let round = 1; round <= 20 && dropped() < idle.length; round++) {
      world.write(errors(1500));
      await until(
        async () => reader.told().length,
        count => count >= 1501 * round - 1 || reader.socket.destroyed,
      );
      world.write({ services: { ssh } });
      await event('(unchanged|swapped)');
    }
    t.equal(dropped(), 9);
    const missed = async () => events().filter(it => it.event).length - 1 - reader.told().length;
    t.equal(await until(missed, count => count === 0), 0, 'all but what came before it');
    await world.host('client').knock(world.server.ipv4, knocks);
    t.match(await reader.find(it => it.event === 'opened'), { service: 'ssh' });
    t.equal((await supervisor.stop()).status, 0);
    t.match(await reader.find(it => it.event === 'stopped'), { event: 'stopped' }, 'to the last word');
    for (const socket of idle) socket.destroy();
  },
);

t.test('killed, it leaves a socket that its successor replaces, and readers come back', { skip }, async t => {
  const { world, environment, supervisor } = await supervised(t, { services: { ssh } });
  const ended = new AbortController();
  t.teardown(() => ended.abort());
  const messages = followEvents(socketIn(environment), ended.signal);
  const next = async (wanted: (message: Message) => boolean): Promise<Message | undefined> => {
    for (;;) {
      const { value } = await messages.next();
      if (!value || wanted(value)) return value ?? undefined;
    }
  };
  t.match(await next(() => true), { is: 'connected', snapshot: { services: ['ssh'] } });
  await supervisor.stop('SIGKILL');
  t.match(await next(() => true), { is: 'waiting', why: /ended the connection/ });
  t.ok(statSync(socketIn(environment)).isSocket(), 'it is left over');
  const successor = world.startKnockd(['run'], environment);
  t.match(await next(({ is }) => is === 'connected'), { is: 'connected' });
  await successor.line(/"event":"unchanged"/);
  const knocking = setInterval(() => void world.host('client').knock(world.server.ipv4, knocks), 500);
  t.match(await next(it => it.is === 'told' && it.told.event === 'opened'), { told: { service: 'ssh' } });
  clearInterval(knocking);
  const isOver = next(() => false); // a knock that was under way may have opened once more
  ended.abort();
  t.equal(await isOver, undefined, 'a reader that stops following is not kept waiting');
  t.equal((await successor.stop()).status, 0);
  t.throws(() => statSync(socketIn(environment)), { code: 'ENOENT' }, 'stopped in order, it leaves none');
});

t.test('there is a limited number of readers, and none that writes', { skip }, async t => {
  const { environment } = await supervised(t, { services: { ssh } });
  const path = socketIn(environment);
  const readers = await Promise.all(Array.from({ length: 16 }, () => read(path)));
  t.teardown(() => {
    for (const { socket } of readers) socket.destroy();
  });
  await t.rejects(read(path), /no line came/, 'one too many');
  readers[0]?.socket.write('hello\n');
  await readers[0]?.ended;
  const another = await until(
    () => read(path).catch(() => undefined),
    it => it !== undefined,
  );
  t.match(another?.snapshot, { event: 'snapshot' }, 'there is room again');
  another?.socket.destroy();
});

t.test('a socket that cannot be made is reported, and made as soon as it can be', { skip }, async t => {
  const { world, environment, supervisor } = await supervised(t, { services: { ssh } });
  const path = socketIn(environment);
  rmSync(path);
  mkdirSync(path);
  await supervisor.line(/events cannot be read by other programs: .*trying again/);
  const status = await until(
    () => world.knockd(['status'], { env: environment }),
    ({ stderr }) => stderr.includes('events cannot be read'),
  );
  t.match(status.stderr, /the supervisor, since .*: events cannot be read by other programs/);
  rmdirSync(path);
  const reader = await until(
    () => read(path).catch(() => undefined),
    it => it !== undefined,
  );
  t.match(reader?.snapshot, { services: ['ssh'] });
  reader?.socket.destroy();
});

t.test('two supervisors: one socket each, and none takes the other one its', { skip }, async t => {
  const { world, environment } = await supervised(t, { services: { ssh } });
  const path = socketIn(environment);
  const first = await read(path);
  const same = world.startKnockd(['run'], environment);
  await same.line(/another program serves .*events; trying again/);
  const folder = `${environment.RUNTIME_DIRECTORY}2`;
  const other = world.startKnockd(['run'], { ...environment, RUNTIME_DIRECTORY: folder });
  await other.line(/"event":"unchanged"/);
  const second = await read(`${folder}/events`);
  t.match([first.snapshot, second.snapshot], [{ table: 'knockd' }, { event: 'snapshot' }]);
  await same.stop();
  t.ok(statSync(path).isSocket(), 'that of the first one stays');
  t.notOk(first.socket.destroyed);
  for (const { socket } of [first, second]) socket.destroy();
  await other.stop();
});
