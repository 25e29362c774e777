/** Another program removes the table of a crowd: the guards come back at once, and the clients after them. */
import { existsSync, watch } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotInject, runFailing } from '../faults/strace.ts';
import { status } from '../kernel/loaded.ts';
import { HUNG, type Running } from '../kernel/process.ts';
import { type Supervised, skip, supervised, until } from './supervised.ts';

const CROWD = 3000;
const address = (index: number) => `10.1.${index >> 8}.${index & 255}`;
const config = {
  services: { ssh: { ports: [22], sequences: { alice: [7001, 7003, 7005] }, openFor: '30m' } },
};
const alice = ['7001/tcp', '7003/tcp', '7005/tcp'];
/** One of the crowd, with less time left than the others: these come back first. */
const late = address(CROWD);

/** A supervisor that knows a crowd, with a last client of five minutes. */
async function crowded(t: Test): Promise<Supervised> {
  const all = await supervised(t, config);
  const { world } = all;
  await world.host('server').listen(22);
  const others = Array.from({ length: CROWD }, (_, index) => `${address(index)} timeout 10h`);
  await world.nft(`add element inet knockd ssh_clients_ipv4 { ${others.join(', ')}, ${late} timeout 5m }`);
  await until(
    async () => all.events().filter(({ event }) => event === 'granted').length,
    told => told === CROWD + 1,
  );
  return all;
}

async function secondsLeft({ world }: Supervised): Promise<Map<string, number>> {
  const { clients = [] } = (await status(world)).services.ssh ?? {};
  return new Map(clients.map(({ address, expires }) => [address, expires ?? Number.POSITIVE_INFINITY]));
}

/** nft's monitor, when it sees what changes. */
async function monitored({ world }: Supervised): Promise<Running> {
  const monitor = world.start('server', 'nft', ['monitor']);
  await until(
    async () => {
      await world.nft('add table ip probe; delete table ip probe');
      return monitor.lines().length;
    },
    lines => lines > 0,
  );
  return monitor;
}

/** Flushes the ruleset until the supervisor could be stopped when the guards were back, and not all clients. */
async function stoppedBetween(t: Test, all: Supervised): Promise<void> {
  const { world, supervisor } = all;
  const monitor = await monitored(all);
  for (const end = Date.now() + HUNG; Date.now() < end; ) {
    await world.nft('flush ruleset');
    await monitor.line(/add chain inet knockd guard_ssh/);
    supervisor.signal('SIGSTOP');
    if ((await secondsLeft(all)).size < CROWD) {
      await monitor.stop();
      return;
    }
    supervisor.signal('SIGCONT');
    await all.event('restored');
  }
  t.fail('the supervisor is too quick to be stopped in between');
}

/** The elements of the first transaction that makes the table. */
async function firstTransaction(monitor: Running): Promise<readonly string[]> {
  await monitor.line(/add table inet knockd/);
  await monitor.line(/new generation/);
  const lines = monitor.lines();
  const first = lines.findIndex(line => /add table inet knockd/.test(line));
  return lines.slice(
    first,
    lines.findIndex((line, at) => at > first && /new generation/.test(line)),
  );
}

t.test(
  'the guards of a crowd come back before it, and then each client with the time that it had',
  { skip },
  async t => {
    const all = await crowded(t);
    const { world, event, events } = all;
    const before = await secondsLeft(all);
    const monitor = await monitored(all);
    await world.nft('flush ruleset');
    const first = await firstTransaction(monitor);
    t.ok(
      first.some(line => line.includes('add rule inet knockd guard_ssh')),
      'it guards',
    );
    const clients = first.filter(line => line.includes('add element inet knockd ssh_clients'));
    t.ok(clients.length < CROWD / 2, `with ${clients.length} clients`);
    t.equal((await event('restored')).clients, CROWD + 1);
    const after = await secondsLeft(all);
    t.equal(after.size, CROWD + 1, 'all are in');
    t.same(
      [...after].filter(([client, seconds]) => seconds > (before.get(client) ?? 0)),
      [],
      'none has more time than before',
    );
    t.equal(events().filter(({ event }) => event === 'restored').length, 1, 'it is reported once');
    await monitor.stop();
  },
);

t.test(
  'a client that knocks before the crowd is in again keeps the time of that knock',
  { skip },
  async t => {
    const all = await crowded(t);
    const { world, supervisor, event } = all;
    await world.nft(`add element inet knockd ssh_clients_ipv4 { ${world.client.ipv4} timeout 5m }`);
    await event('granted');
    await stoppedBetween(t, all);
    await world.host('client').knock(world.server.ipv4, alice);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
    supervisor.signal('SIGCONT');
    await event('restored');
    const left = (await secondsLeft(all)).get(world.client.ipv4) ?? 0;
    t.ok(left > 20 * 60, `${left} s`);
    t.equal((await secondsLeft(all)).size, CROWD + 2);
  },
);

t.test('a table that is removed once more before the crowd is in again is made again', { skip }, async t => {
  const all = await crowded(t);
  const { world, supervisor, event } = all;
  await stoppedBetween(t, all);
  await world.nft('flush ruleset');
  supervisor.signal('SIGCONT');
  await event('restored');
  t.equal(
    await until(
      async () => (await secondsLeft(all)).size,
      size => size === CROWD + 1,
    ),
    CROWD + 1,
  );
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent', 'a stranger is out');
});

t.test('who is revoked before the crowd is in again stays out', { skip }, async t => {
  const all = await crowded(t);
  const { world, supervisor, environment, event } = all;
  await world.host('client').knock(world.server.ipv4, alice);
  await event('opened');
  await stoppedBetween(t, all);
  for (const whom of ['alice', late]) {
    const { status, stdout } = await world.knockd(['revoke', whom], { env: environment });
    t.equal(status, 0, stdout);
  }
  supervisor.signal('SIGCONT');
  await event('restored');
  const clients = await secondsLeft(all);
  t.equal(clients.size, CROWD);
  t.notOk(clients.has(late), 'one by address');
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent', 'one by name');
});

t.test(
  'a supervisor that is killed before the crowd is in again: the next one lets it in',
  { skip },
  async t => {
    const all = await crowded(t);
    const { world, supervisor, environment } = all;
    await stoppedBetween(t, all);
    await supervisor.stop('SIGKILL');
    const { status } = await world.knockd(['revoke', late], { env: environment });
    t.equal(status, 0);
    const next = world.startKnockd(['run'], environment);
    await next.line(/"event":"unchanged"/);
    const clients = await secondsLeft(all);
    t.equal(clients.size, CROWD);
    t.notOk(clients.has(late), 'but for one that was revoked meanwhile');
    t.notOk(existsSync(join(environment.RUNTIME_DIRECTORY ?? '', 'clients')), 'and nothing is left to do');
    await next.stop();
  },
);

/** A crowd whose supervisor was killed before all of it was in again. */
async function left(t: Test): Promise<Supervised> {
  const all = await crowded(t);
  await stoppedBetween(t, all);
  await all.supervisor.stop('SIGKILL');
  return all;
}

t.test(
  'a supervisor that is killed before the crowd is in again, and another flush: the next one lets it in',
  { skip },
  async t => {
    const all = await left(t);
    const { world, environment } = all;
    await world.nft('flush ruleset');
    const next = world.startKnockd(['run'], environment);
    await next.line(/"event":"loaded"/);
    t.equal((await secondsLeft(all)).size, CROWD + 1);
    await next.stop();
  },
);

t.test(
  'a supervisor that is killed while a crowd comes into a table that a load by hand made: the next one lets it in',
  { skip },
  async t => {
    const all = await crowded(t);
    const { world, supervisor, environment, event } = all;
    supervisor.signal('SIGSTOP');
    await world.nft('flush ruleset');
    t.equal((await world.knockd(['load'], { env: environment })).status, 0);
    const watcher = watch(environment.RUNTIME_DIRECTORY ?? '');
    t.teardown(() => watcher.close());
    const written = new Promise(resolve => {
      watcher.on('change', (_, name) => name === 'clients' && resolve(true));
    });
    supervisor.signal('SIGCONT');
    const restored = event('restored').then(
      () => false,
      () => false, // it is killed below
    );
    t.ok(await Promise.race([written, restored]), 'it leaves a note first');
    await supervisor.stop('SIGKILL');
    const next = world.startKnockd(['run'], environment);
    await next.line(/"event":"unchanged"/);
    t.equal((await secondsLeft(all)).size, CROWD + 1);
    await next.stop();
  },
);

t.test(
  'a supervisor that is killed before the crowd is in again: unload forgets it, even if it is killed as soon as the table is gone',
  { skip: skip || cannotInject() },
  async t => {
    const all = await left(t);
    const { world, environment } = all;
    const clients = join(environment.RUNTIME_DIRECTORY ?? '', 'clients');
    const killed = '%file:error=EINTR:signal=SIGKILL';
    t.equal((await runFailing(world, clients, killed, ['unload'], environment)).status, 137);
    t.ok(existsSync(clients), 'it is not done');
    t.notMatch(await world.list(), /table inet knockd/);
    const next = world.startKnockd(['run'], environment);
    await next.line(/"event":"loaded"/);
    t.equal((await secondsLeft(all)).size, 0);
    await next.stop();
  },
);
