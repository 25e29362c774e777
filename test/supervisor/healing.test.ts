import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { createWorld } from '../kernel/world.ts';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

interface Status {
  readonly inSync: boolean;
  readonly services: Readonly<
    Record<string, { readonly clients: readonly { address: string; user: string | null }[] }>
  >;
}

t.test('a change to the table by another program is undone, and the clients are back', { skip }, async t => {
  const { world, event } = await supervised(t, {
    services: {
      ssh,
      admin: {
        ports: [8443],
        sequences: { alice: [7001, 7003, 7005], bob: [7001, 7004, 7006] },
        openFor: '60s',
      },
    },
  });
  const status = async () => JSON.parse((await world.knockd(['status', '--json'])).stdout) as Status;
  const client = world.host('client');
  const server = world.host('server');
  await server.listen(22);
  await client.knock(world.server.ipv4, knocks);
  await event('opened');
  await client.knock(world.server.ipv6, ['7001/tcp', '7003/tcp', '7005/tcp']);
  await event('opened');

  const damage: Readonly<Record<string, string>> = {
    'flush ruleset': 'flush ruleset',
    'delete table': 'delete table inet knockd',
    'flush chain': 'flush chain inet knockd input',
    'a rule inserted by hand': 'insert rule inet knockd input accept',
    'an emptied map': 'flush map inet knockd ports',
    'a table put to sleep': 'add table inet knockd { flags dormant; }',
    'a chain added': 'add chain inet knockd mine { type filter hook input priority 5; }',
  };
  for (const [what, script] of Object.entries(damage)) {
    await world.nft(script);
    const line = await event('restored');
    t.match(line.msg, /restored table inet knockd/, what);
    const { inSync, services } = await status();
    t.ok(inSync, `${what}: as the configuration says`);
    t.match(services.ssh?.clients, [{ address: world.client.ipv4 }], `${what}: the client is in`);
    t.match(
      services.admin?.clients,
      [{ address: world.client.ipv6, user: 'alice' }],
      `${what}: and so is the user`,
    );
  }
  t.equal(await client.connect(world.server.ipv4, 22), 'open');
});

t.test('a client that came in right after a swap is back, too', { skip }, async t => {
  const file = (port: number) => ({ services: { ssh: { ...ssh, openFor: '10m' } }, public: [port] });
  const { world, event } = await supervised(t, file(9000));
  await world.host('server').listen(22);
  world.write(file(9001));
  await event('swapped');
  await world.host('client').knock(world.server.ipv4, knocks);
  await event('opened');
  await world.nft('flush ruleset');
  await event('restored');
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
});

/** Commands that remove the guards and put nothing in their place. */
const LOSSES = ['flush ruleset', 'delete table inet knockd', 'flush chain inet knockd input'];
/** On a busy machine a regular check may come in between. More repairs would have to wait. */
const ROUNDS = 3;

t.test(
  'guards that another program takes away are put back at once, not at the next check',
  { skip },
  async t => {
    const world = await createWorld(t);
    const folder = dirname(world.configFile);
    const socket = join(folder, 'notify');
    const manager = world.start('server', process.execPath, ['build/test/supervisor/manager.js', socket]);
    await manager.line(/^bound/);
    world.write({ services: { ssh } });
    const env = { RUNTIME_DIRECTORY: join(folder, 'run'), NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000' };
    mkdirSync(env.RUNTIME_DIRECTORY);
    const supervisor = world.startKnockd(['run'], env);
    await supervisor.line(/"event":"loaded"/);
    /** Each regular check begins with this. */
    const looks = () => manager.lines().filter(line => line === 'WATCHDOG=1').length;
    for (const loss of LOSSES) {
      let isAtOnce = false;
      for (let left = ROUNDS; left > 0 && !isAtOnce; left--) {
        await manager.line(/^WATCHDOG=1/);
        const before = looks();
        await world.nft(loss);
        await supervisor.line(/"event":"restored"/);
        isAtOnce = looks() === before;
      }
      t.ok(isAtOnce, loss);
    }
  },
);

t.test('an opening for single use is not given back', { skip }, async t => {
  const { world, event } = await supervised(t, { services: { ssh: { ...ssh, singleUse: true } } });
  const client = world.host('client');
  await world.host('server').listen(22);
  await client.knock(world.server.ipv4, knocks);
  await event('opened');
  t.equal(await client.connect(world.server.ipv4, 22), 'open');
  await world.nft('flush ruleset');
  await event('restored');
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
});

t.test('an element added by hand is somebody let in, and left alone', { skip }, async t => {
  const { world, event, events } = await supervised(t, { services: { ssh } });
  await world.host('server').listen(22);
  await world.nft(`add element inet knockd ssh_clients_ipv4 { ${world.client.ipv4} timeout 1h }`);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
  // this is reported only after the next look at the table
  await world.nft('flush chain inet knockd input');
  await event('restored');
  t.equal(events().filter(line => line.event === 'restored').length, 1, 'no repair for it');
  await world.nft('flush ruleset');
  await event('restored');
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open', 'and remembered');
});

t.test('other tables are nobody of ours', { skip }, async t => {
  const { world, supervisor, events } = await supervised(t, { services: { ssh } });
  for (let round = 0; round < 5; round++) {
    await world.nft(
      'add table inet other; add chain inet other c; flush table inet other; delete table inet other',
    );
    await new Promise(resolve => setTimeout(resolve, 300));
  }
  await supervisor.stop();
  t.strictSame(
    events().map(line => line.event),
    ['loaded', 'stopped'],
  );
});

t.test(
  'unload --force is respected until the next load; without --force it is refused',
  { skip },
  async t => {
    const { world, environment, event } = await supervised(t, { services: { ssh } });
    const refused = await world.knockd(['unload'], { env: environment });
    t.equal(refused.status, 1);
    t.match(refused.stderr, /a supervisor runs .*--force/);
    t.match(await world.list(), 'table inet knockd');
    t.equal((await world.knockd(['unload', '--force'], { env: environment })).status, 0);
    t.match(await event('held'), { reason: 'unloaded by hand' });
    t.notMatch(await world.list(), 'table inet knockd');
    t.equal((await world.knockd(['load'], { env: environment })).status, 0);
    await event('unchanged');
    t.match(await world.list(), 'table inet knockd');
  },
);

const mounts = skip || (process.getuid?.() !== 0 && 'needs root for a mount');

t.test('a hold that a reload cannot end is reported', { skip: mounts }, async t => {
  const { world, supervisor, environment } = await supervised(t, { services: { ssh } });
  t.equal((await world.knockd(['unload', '--force'], { env: environment })).status, 0);
  const hold = join(environment.RUNTIME_DIRECTORY ?? '', 'hold');
  const words = ['-t', String(supervisor.pid), '-m', 'mount', '--bind', hold, hold]; // it cannot be removed then
  t.equal((await world.run('server', 'nsenter', words)).status, 0);
  supervisor.signal('SIGHUP');
  await supervisor.line(/the hold cannot be removed \(EBUSY: .*remove .*hold"/);
});

t.test(
  'a content that a supervisor did not load, since nobody confirmed it, stays after load --force',
  { skip },
  async t => {
    const guarding = (port: number) => ({ services: { ssh: { ...ssh, ports: [port] } } });
    const { world, supervisor, environment } = await supervised(t, guarding(22));
    await supervisor.stop();
    const env = environment;
    world.write(guarding(2222));
    t.match((await world.knockd(['try', '--for', '1s'], { env })).stdout, /^undone/);
    const next = world.startKnockd(['run'], env);
    await next.line(/the last good configuration is in force instead/);
    await next.line(/"event":"unchanged"/);
    t.equal((await world.knockd(['load', '--force'], { env })).status, 0);
    await next.line(/"event":"unchanged"/);
    t.match(await world.list(), /tcp \. 2222 : goto guard_ssh/);
  },
);

t.test('a reload ends an unload that the supervisor has not yet seen', { skip }, async t => {
  const { world, supervisor, environment } = await supervised(t, { services: { ssh } });
  supervisor.signal('SIGSTOP');
  t.equal((await world.knockd(['unload', '--force'], { env: environment })).status, 0);
  supervisor.signal('SIGHUP');
  supervisor.signal('SIGCONT');
  t.match(
    await until(
      () => world.list(),
      text => text.includes('table inet knockd'),
    ),
    'table inet knockd',
  );
});

t.test('a supervisor that is stopped, or killed, leaves the table as it is', { skip }, async t => {
  const { world, supervisor, event } = await supervised(t, { services: { ssh } });
  const client = world.host('client');
  await world.host('server').listen(22);
  supervisor.signal('SIGKILL');
  await supervisor.ended;
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  await client.knock(world.server.ipv4, knocks);
  t.equal(await client.connect(world.server.ipv4, 22), 'open', 'knocks work with every process of ours dead');
  const second = world.startKnockd(['run']);
  await second.line(/"event":"unchanged"/);
  t.equal((await second.stop()).status, 0);
  t.equal(await client.connect(world.server.ipv4, 22), 'open', 'stopping it does not close anything');
  t.equal(
    await until(
      () => world.list(),
      text => text.includes('ssh_clients_ipv4'),
    ).then(Boolean),
    true,
  );
  void event;
});
