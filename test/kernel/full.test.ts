/** More are in than a set may hold: no load, swap, restore or undo fails for it. */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { load, loadedWorld, patient, ssh, sshKnocks, status } from './loaded.ts';
import { missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');

/** Lets in 10.9.0.0 and the next addresses, each for a minute longer than the one before. */
async function letIn(world: World, count: number): Promise<void> {
  const elements = Array.from(
    { length: count },
    (_, index) => `10.9.${index >> 8}.${index & 255} timeout ${60 + index}m`,
  );
  await world.nft(`add element inet knockd ssh_clients_ipv4 { ${elements.join(', ')} }`);
}

async function clients(world: World): Promise<readonly string[]> {
  return ((await status(world)).services.ssh?.clients ?? []).map(({ address }) => address).sort();
}

/** Those of {@link letIn} that have the most time left. */
const longest = (most: number, of: number) =>
  Array.from({ length: most }, (_, index) => `10.9.0.${of - most + index}`).sort();

t.test(
  'a restore after "limits.clients" was lowered lets in again as many clients as there is room for',
  { skip },
  async t => {
    const world = await loadedWorld(t, { services: { ssh } });
    const folder = dirname(world.configFile);
    const environment = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
    mkdirSync(environment.RUNTIME_DIRECTORY);
    await letIn(world, 30);
    const supervisor = world.startKnockd(['run'], environment);
    await supervisor.line(/"event":"unchanged"/);
    world.write({ services: { ssh }, limits: { clients: 10 } });
    await supervisor.line(/"event":"swapped"/);
    t.equal((await clients(world)).length, 30, 'nobody is put out by the smaller limit alone');
    await world.nft('flush ruleset');
    await supervisor.line(/"event":"restored"/);
    t.match(await supervisor.line(/no room/), /set ssh_clients_ipv4 has no room for all: the 20 /);
    t.same(await clients(world), longest(10, 30));
    t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
  },
);

t.test('a table of another name takes over as many as its sets hold, also with users', { skip }, async t => {
  const users = { ssh: { ports: [22], sequences: { alice: [7001, 7003, 7005] }, ...patient } };
  const world = await loadedWorld(t, { services: users });
  await letIn(world, 30);
  world.write({ services: users, table: 'other', limits: { clients: 10 } });
  const { status, stdout, stderr } = await world.knockd(['load']);
  t.equal(status, 0, stderr);
  t.match(`${stdout}${stderr}`, /set ssh_clients_ipv4 has no room for all: the 20 with the least time left/);
  t.same(await clients(world), longest(10, 30));
});

t.test('a trial of another name is undone even if more clients are in than fit', { skip }, async t => {
  const world = await loadedWorld(t, { services: { ssh }, limits: { clients: 40 } });
  await letIn(world, 30);
  await load(world, { services: { ssh }, limits: { clients: 10 } });
  const candidate = `${world.configFile}.new`;
  await world.run('server', 'sh', [
    '-c',
    `umask 077; echo '${JSON.stringify({ services: { ssh }, table: 'other' })}' > ${candidate}`,
  ]);
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  const tried = await world.knockd(['try', candidate, '--for', '2s'], { env });
  t.equal(tried.status, 1, tried.stderr);
  t.match(await world.list(), /table inet knockd/);
  t.notMatch(await world.list(), /table inet other/);
  t.same(await clients(world), longest(10, 30));
});

t.test('a wider prefix is loaded even if its networks do not fit beside the addresses', { skip }, async t => {
  const world = await loadedWorld(t, { services: { ssh }, limits: { clients: 30 } });
  const elements = Array.from({ length: 30 }, (_, index) => `10.9.${index}.7 timeout ${60 + index}m`);
  await world.nft(`add element inet knockd ssh_clients_ipv4 { ${elements.join(', ')} }`);
  await load(world, {
    services: { ssh, web: { ports: [80], sequence: [7001, 7003, 7005] } },
    prefix: { ipv4: 24 },
    limits: { clients: 30 },
  });
  const networks = Array.from({ length: 30 }, (_, index) => `10.9.${index}.0/24`);
  t.same(await clients(world), networks.sort());
  t.match(await world.list(), /tcp \. 80 : goto guard_web/, 'and the new guard stands');
});

t.test('a wider prefix is loaded while packets fill the set', { skip }, async t => {
  const flooded = { ports: [22], sequence: [10000], ...patient };
  const config = { services: { ssh: flooded }, limits: { clients: 2000 } };
  const world = await loadedWorld(t, config);
  const client = world.host('client');
  const flood = client.flood({
    to: world.server.ipv4,
    knocks: ['10000/tcp'],
    sources: { first: '198.18.0.1', count: 60_000 },
    count: 200_000,
  });
  for (let round = 0; round < 4; round++) {
    await load(world, { ...config, prefix: { ipv4: 31 - round } });
    t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
  }
  await flood;
});

t.test(
  'a full record of wrong knocks keeps nobody from knocking, nor from starting over',
  { skip },
  async t => {
    const world = await loadedWorld(t, { services: { ssh }, limits: { progress: 10 } });
    const others = Array.from({ length: 10 }, (_, index) => `10.9.0.${index}`);
    await world.nft(
      `add element inet knockd mistaken_ipv4 { ${others.map(it => `${it} timeout 9m`).join(', ')} }`,
    );
    const [client, to] = [world.host('client'), world.server.ipv4];
    const [first = '', second = '', , last = ''] = sshKnocks;
    await client.knock(to, [first, second, last]);
    const seen = await status(world);
    t.match(seen, { wrongKnocks: 1, knocking: { length: 0 }, services: { ssh: { opened: 0 } } });
    t.same(seen.mistaken.map(({ address }) => address).sort(), others);
    await client.knock(to, sshKnocks);
    t.match(await status(world), { services: { ssh: { opened: 1 } } });
  },
);

t.test(
  'a client that knocks wrongly is named, the latest first, and one that knocks rightly is not',
  { skip },
  async t => {
    const world = await loadedWorld(t, { services: { ssh } }, { clients: ['client', 'other', 'guest'] });
    const to = world.server.ipv4;
    await world.nft('add element inet knockd mistaken_ipv4 { 10.9.0.1 timeout 10m expires 4m }');
    await world.host('client').knock(to, ['2345/tcp']);
    await world.host('other').knock(to, ['10000/tcp', '3456/tcp']);
    await world.host('guest').knock(to, sshKnocks);
    await world.host('client').knock(to, ['2345/tcp']);
    const { mistaken, wrongKnocks } = await status(world);
    const names = ['client', 'other'].map(name => world.addresses(name).ipv4);
    t.same(
      mistaken.map(({ address }) => address),
      [...names, '10.9.0.1'],
    );
    t.equal(Math.floor((mistaken.at(-1)?.ago ?? 0) / 60), 6);
    t.equal(wrongKnocks, 3);
  },
);
