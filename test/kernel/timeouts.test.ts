/** The time-outs: real seconds of the kernel, the shortest that the configuration allows. */
import t from 'tap';
import {
  families,
  knocking,
  loadedWorld,
  patient,
  serviceOf,
  ssh,
  sshKnocks,
  status,
  until,
} from './loaded.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };
const nobody = (list: readonly unknown[]) => list.length === 0;

t.test('a client that pauses longer than knockTimeout starts over, after any knock', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, knockTimeout: '1s' } } });
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const made of [1, 2, 3]) {
    for (const family of families) await client.knock(world.server[family], sshKnocks.slice(0, made));
    await until(() => knocking(world), nobody);
    for (const family of families) {
      await client.knock(world.server[family], sshKnocks.slice(made));
      t.equal(
        await client.connect(world.server[family], 22),
        'silent',
        `${made} before the pause, ${family}`,
      );
    }
  }
  for (const family of families) {
    await client.knock(world.server[family], sshKnocks);
    t.equal(await client.connect(world.server[family], 22), 'open', 'without a pause');
  }
});

t.test(
  'sequences that share a place share the longest of their time-outs, and part with it',
  needs,
  async t => {
    const services = {
      slow: { ports: [80], sequence: [4000, 5000, 6000], knockTimeout: '5m' },
      quick: { ports: [81], sequence: [4000, 5000, 7000, 8000], knockTimeout: '20s' },
      other: { ports: [82], sequence: ['9000/udp', 5000, 7000], knockTimeout: '40s' },
    };
    const world = await loadedWorld(t, { services });
    const clock = async () => Math.ceil(((await status(world)).knocking[0]?.expires ?? 0) / 20) * 20;
    const client = world.host('client');
    const { ipv4 } = world.server;
    await client.knock(ipv4, ['4000/tcp']);
    t.equal(await clock(), 300);
    await client.knock(ipv4, ['5000/tcp']);
    t.equal(await clock(), 300, 'two knocks are common to both');
    await client.knock(ipv4, ['7000/tcp']);
    t.equal(await clock(), 20, "the third is quick's own");
    await client.knock(ipv4, ['9000/udp']);
    t.equal(await clock(), 40, 'a service that shares nothing');
  },
);

t.test('an opening ends after openFor; connections that were made in it stay', needs, async t => {
  const services = { ssh: { ...ssh, ports: [22, '53/udp'], openFor: '2s' } };
  const world = await loadedWorld(t, { services });
  await world.host('server').listen(22);
  await world.host('server').listen(53, { protocol: 'udp' });
  const client = world.host('client');
  const sessions = [];
  for (const family of families) {
    await client.knock(world.server[family], sshKnocks);
    sessions.push(await client.open(world.server[family], 22));
    t.equal(await client.udp(world.server[family], 53, 'in time', { localPort: 17000 }), 'in time');
  }
  await until(async () => (await serviceOf(world, 'ssh')).clients, nobody);
  for (const session of sessions) t.equal(await session.send('still here'), 'alive');
  for (const family of families) {
    const to = world.server[family];
    t.equal(await client.connect(to, 22), 'silent', 'a new connection');
    t.equal(await client.udp(to, 53, 'flow', { localPort: 17000 }), 'flow', 'a flow of datagrams stays');
    t.equal(await client.udp(to, 53, 'flow', { localPort: 17001 }), 'silent', 'a new one');
    await client.knock(to, sshKnocks);
    t.equal(await client.connect(to, 22), 'open', 'after knocking again');
  }
});

t.test('a single-use opening that nobody used ends as well', needs, async t => {
  const sequences = { alice: [10000, 2345, 3456], bob: [4000, 5000, 6000] };
  const services = { once: { ports: [22], sequences, ...patient, openFor: '1s', singleUse: true } };
  const world = await loadedWorld(t, { services });
  await world.host('server').listen(22);
  await world.host('client').knock(world.server.ipv4, ['4000/tcp', '5000/tcp', '6000/tcp']);
  await until(async () => (await serviceOf(world, 'once')).clients, nobody);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
});

t.test(
  'a client that knocks again while it is in is in for the whole of openFor from then',
  needs,
  async t => {
    const world = await loadedWorld(t, { services: { ssh: { ...ssh, openFor: '30s' } } });
    const client = world.host('client');
    const left = async () => (await status(world)).services.ssh?.clients[0]?.expires ?? 0;
    await client.knock(world.server.ipv4, sshKnocks);
    const before = await until(left, seconds => seconds < 27);
    await client.knock(world.server.ipv4, sshKnocks);
    t.ok((await left()) > before);
  },
);
