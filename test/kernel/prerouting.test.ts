/** `hook: "prerouting"`: guarding ports that are forwarded, as Docker publishes them. */
import t from 'tap';
import { families, knocking, load, loadedWorld, serviceOf, ssh, sshKnocks, until } from './loaded.ts';
import type { Packet } from './packet.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const clients = ['client', 'stranger'];
const config = {
  hook: 'prerouting',
  services: {
    web: { ...ssh, ports: [8080, '8053/udp'] },
    admin: { ...ssh, ports: [22], sequence: [4000, 5000, 6000] },
  },
};

/** Published: 8080/tcp and 8053/udp, which are guarded, and 8090/tcp, which is not. */
async function publishedWorld(t: Parameters<typeof loadedWorld>[0], extra: object = {}): Promise<World> {
  const world = await loadedWorld(t, { ...config, ...extra }, { clients, container: true });
  for (const port of [80, 90]) await world.host('container').listen(port);
  await world.host('container').listen(53, { protocol: 'udp' });
  await world.publish(8080, 80);
  await world.publish(8090, 90);
  await world.publish(8053, 53, 'udp');
  await world.host('server').listen(22);
  return world;
}

for (const policy of ['accept', 'drop'])
  t.test(`a published port opens by knocking, to its client alone (policy ${policy})`, needs, async t => {
    const world = await publishedWorld(t, { policy });
    const client = world.host('client');
    const stranger = world.host('stranger');
    for (const family of families) {
      const to = world.server[family];
      t.equal(await client.connect(to, 8080), 'silent');
      t.equal(await client.udp(to, 8053, 'question'), 'silent');
      await client.knock(to, sshKnocks);
      t.equal(await client.connect(to, 8080), 'open', `the original port, ${family}`);
      t.equal(await client.udp(to, 8053, 'question'), 'question');
      const session = await client.open(to, 8080);
      t.equal(await session.send('hello'), 'alive');
      t.equal(await stranger.connect(to, 8080), 'silent');
      t.equal(await stranger.connect(to, 8090), 'open', 'published, not guarded');
    }
    t.match(await serviceOf(world, 'web'), { opened: 2, accepted: 6, refused: 6 });
  });

t.test("the server's own guarded ports are guarded, too", needs, async t => {
  const world = await publishedWorld(t);
  for (const family of families) {
    const to = world.server[family];
    t.equal(await world.host('client').connect(to, 22), 'silent');
    await world.host('client').knock(to, ['4000/tcp', '5000/tcp', '6000/tcp']);
    t.equal(await world.host('client').connect(to, 22), 'open');
    t.equal(await world.host('stranger').connect(to, 22), 'silent');
    t.equal(await world.host('client').connect(to, 8080), 'silent', 'another service');
  }
  t.equal(await world.host('server').connect(world.server.ipv4, 22), 'open', 'open to itself');
});

t.test('a guarded port that is closed may also answer with a reset', needs, async t => {
  const world = await publishedWorld(t, { closed: 'reject' });
  for (const family of families) {
    t.equal(await world.host('client').connect(world.server[family], 8080), 'refused');
    t.equal(await world.host('client').connect(world.server[family], 22), 'refused');
    t.equal(await world.host('client').udp(world.server[family], 8053, 'question'), 'refused');
  }
});

t.test('a guarded port that is closed may also answer that it is prohibited', needs, async t => {
  const world = await publishedWorld(t, { closed: 'prohibited' });
  for (const family of families)
    for (const [protocol, port] of [
      ['tcp', 8080],
      ['tcp', 22],
      ['udp', 8053],
    ] as const)
      t.equal(
        await world.host('client').probe({ protocol, to: world.server[family], port }),
        'icmp-admin-prohibited',
        `${port}/${protocol} over ${family}`,
      );
});

t.test('a visit to another published port is no stray, one to a closed port is', needs, async t => {
  const world = await publishedWorld(t);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, sshKnocks.slice(0, 2));
    t.equal(await client.connect(to, 8090), 'open');
    t.equal(await client.connect(to, 8080), 'silent', 'nor is a visit to a guarded port');
    t.equal(await client.connect(to, 22), 'silent');
    t.same(await knocking(world), [`${world.client[family]} web 2/4`]);
    await client.knock(to, ['9999/tcp']);
    t.same(await knocking(world), []);
  }
});

t.test('packets that the server only routes are not looked at', needs, async t => {
  const world = await publishedWorld(t, { policy: 'drop' });
  await world.host('container').listen(8080);
  await world.host('container').listen(22);
  const { ipv4, ipv6 } = world.addresses('container');
  for (const to of [ipv4, ipv6]) {
    for (const port of [22, 80, 8080]) t.equal(await world.host('client').connect(to, port), 'open');
    await world.host('client').knock(to, ['10000/tcp']);
  }
  t.same(await knocking(world), []);
});

t.test('broadcast, multicast and anycast do not get past the guard', needs, async t => {
  const services = { web: { ...ssh, ports: ['8053-8054/udp'] } };
  const world = await loadedWorld(t, { services: {} }, { container: true });
  // a socket of both families hears no IPv4 multicast
  const listeners = [
    await world.host('server').listen(8053, { protocol: 'udp' }),
    await world.host('server').listen(8054, { protocol: 'udp', address: '0.0.0.0' }),
  ];
  const groups: readonly Packet[] = [
    { protocol: 'udp', port: 8053, from: world.client.ipv4, to: '10.77.0.255' },
    { protocol: 'udp', port: 8053, from: world.client.ipv4, to: '255.255.255.255' },
    { protocol: 'udp', port: 8054, from: world.client.ipv4, to: '224.0.0.1' },
    { protocol: 'udp', port: 8053, from: world.client.ipv6, to: 'ff02::1' },
    { protocol: 'udp', port: 8053, from: world.client.ipv6, to: 'fd77::' }, // routers' anycast address
  ];
  const send = () => world.host('client').send(groups);
  const delivered = async () => {
    const arrived = await Promise.all(listeners.map(listener => listener.arrived()));
    return arrived.reduce((sum, count) => sum + count);
  };
  const refused = async () => (await serviceOf(world, 'web')).refused;
  await send();
  await until(delivered, count => count === groups.length);
  t.pass('delivered where there is no guard');
  for (const hook of ['prerouting', 'input']) {
    await load(world, { hook, services });
    const before = await refused();
    await send();
    await until(refused, count => count - before === groups.length);
    t.equal(await delivered(), groups.length, `nothing more was delivered (${hook})`);
  }
});

t.test('a change of the hook keeps clients that are in', needs, async t => {
  const world = await publishedWorld(t, { hook: 'input' });
  await world.host('client').knock(world.server.ipv4, ['4000/tcp', '5000/tcp', '6000/tcp']);
  for (const hook of ['prerouting', 'input', 'prerouting']) {
    await load(world, { ...config, hook });
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open', hook);
    t.equal(await world.host('stranger').connect(world.server.ipv4, 22), 'silent', hook);
  }
});
