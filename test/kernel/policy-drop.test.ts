/** `policy: "drop"`: all that is not named is dropped, and a host needs more than it names. */
import t from 'tap';
import { families, load, loadedWorld, ssh, sshKnocks, until } from './loaded.ts';
import type { ControlMessage } from './packet.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };
const needsNft = { skip: missing('namespaces', 'knockd', 'nft') };
const config = { policy: 'drop', services: { ssh } };

t.test('ports that nothing names are silent, whether somebody listens or not', needs, async t => {
  const world = await loadedWorld(t, config);
  const server = world.host('server');
  for (const port of [22, 80]) await server.listen(port);
  await server.listen(53, { protocol: 'udp' });
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    for (const port of [22, 80, 81]) t.equal(await client.probe({ protocol: 'tcp', to, port }, 150), 'none');
    for (const port of [53, 54]) t.equal(await client.probe({ protocol: 'udp', to, port }, 150), 'none');
    t.equal(await client.probe({ protocol: 'tcp', to, port: 80, flags: ['ack'] }, 150), 'none');
    await client.knock(to, sshKnocks);
    t.equal(await client.connect(to, 22), 'open', 'knocking works');
    t.equal(await client.connect(to, 80), 'silent', 'and opens nothing else');
  }
});

t.test('the server reaches itself and others, and hears their answers', needs, async t => {
  const world = await loadedWorld(t, config);
  const server = world.host('server');
  await server.listen(80);
  await world.host('client').listen(9000);
  await world.host('client').listen(9053, { protocol: 'udp' });
  for (const to of ['127.0.0.1', '::1', world.server.ipv4, world.server.ipv6])
    t.equal(await server.connect(to, 80), 'open', to);
  for (const family of families) {
    const session = await server.open(world.client[family], 9000);
    t.equal(await session.send('hello'), 'alive', 'established');
    t.equal(await server.udp(world.client[family], 9053, 'question'), 'question');
    t.equal(await server.udp(world.client[family], 9054, 'question'), 'refused', 'an ICMP error');
    t.equal(await server.connect(world.client[family], 9001), 'refused');
  }
});

t.test('public ports are open to everybody, allowed sources may go everywhere', needs, async t => {
  const clients = ['client', 'friend'];
  const world = await loadedWorld(
    t,
    { ...config, public: [80, '5000-5001/udp'], allow: ['10.77.0.3', 'fd77::3'] },
    { clients },
  );
  for (const port of [22, 80, 81]) await world.host('server').listen(port);
  await world.host('server').listen(5001, { protocol: 'udp' });
  for (const family of families) {
    const to = world.server[family];
    const reached = (host: string) =>
      Promise.all([22, 80, 81].map(port => world.host(host).connect(to, port)));
    t.same(await reached('client'), ['silent', 'open', 'silent']);
    t.same(await reached('friend'), ['open', 'open', 'open']);
    t.equal(await world.host('client').udp(to, 5001, 'hello'), 'hello');
    t.equal(await world.host('client').connect(to, 5001), 'silent', 'public for UDP alone');
    t.equal(await world.host('friend').connect(to, 82), 'refused', 'as without a firewall');
  }
});

t.test('ping is answered', needs, async t => {
  const world = await loadedWorld(t, config);
  const client = world.host('client');
  for (const family of families) {
    const [protocol, asks, answers] =
      family === 'ipv4' ? (['icmp', 8, 0] as const) : (['icmpv6', 128, 129] as const);
    const captured = await client.capture({ from: world.server[family], protocol });
    const echo = { protocol, from: world.client[family], to: world.server[family], ttl: 64 };
    await client.control([{ ...echo, type: asks, body: '12340001' }]);
    t.ok(
      (await captured.end()).some(({ type }) => type === answers),
      family,
    );
  }
});

t.test('neighbours are found again after both sides forgot them', needs, async t => {
  const world = await loadedWorld(t, { ...config, public: [80] });
  await world.host('server').listen(80);
  for (const family of families)
    for (const host of ['client', 'server']) {
      for (const side of ['client', 'server']) await world.run(side, 'ip', ['neigh', 'flush', 'all']);
      const away = host === 'client' ? world.server[family] : world.client[family];
      const expected = host === 'client' ? 'open' : 'refused';
      t.equal(
        await world.host(host).connect(away, host === 'client' ? 80 : 9001, { timeout: 5000 }),
        expected,
      );
    }
});

t.test('duplicate address detection finds the duplicate', needs, async t => {
  const world = await loadedWorld(t, config);
  await world.addAddress('client', 'fd77::99/64');
  await world.run('server', 'ip', ['addr', 'add', 'fd77::99/64', 'dev', 'eth0']);
  const state = async () =>
    (await world.run('server', 'ip', ['-6', 'addr', 'show', 'to', 'fd77::99'])).stdout;
  const found = await until(state, text => !text.includes('tentative') || text.includes('dadfailed'));
  t.match(found, /dadfailed/);
});

t.test('a running connection of before the load goes on, incoming and outgoing', needs, async t => {
  const world = await createWorld(t);
  const server = world.host('server');
  const client = world.host('client');
  for (const port of [22, 80]) await server.listen(port);
  await client.listen(9000);
  const sessions = [];
  for (const family of families)
    sessions.push(
      await client.open(world.server[family], 22),
      await client.open(world.server[family], 80),
      await server.open(world.client[family], 9000),
    );
  await load(world, config);
  for (const session of sessions) t.equal(await session.send('hello'), 'alive');
  t.equal(await client.connect(world.server.ipv4, 80), 'silent', 'a new one does not');
});

/** Counts what got past us, in a chain that comes later. */
async function witness(world: World, ...matches: readonly string[]): Promise<() => Promise<number[]>> {
  const counters = matches.map((_, index) => `counter seen${index} { }`).join('\n');
  const rules = matches.map((match, index) => `${match} counter name seen${index}`).join('\n');
  await world.nft(`table inet witness {
${counters}
chain input { type filter hook input priority 100
${rules}
}
}`);
  return async () => {
    const counts = (await world.list()).matchAll(/counter seen(\d+) \{\s*packets (\d+)/g);
    return [...counts].sort(([, a], [, b]) => Number(a) - Number(b)).map(([, , packets]) => Number(packets));
  };
}

t.test('answers of DHCP and DHCPv6 come in, and nothing else at their ports', needsNft, async t => {
  const world = await loadedWorld(t, config);
  const seen = await witness(
    world,
    'udp sport 67 udp dport 68',
    'ip6 daddr fe80::/10 udp dport 546',
    'udp dport { 67, 68, 546, 547 }',
  );
  const udp = { protocol: 'udp' } as const;
  const { ipv4, ipv6 } = world.server;
  await world.host('client').send([
    { ...udp, to: ipv4, sourcePort: 67, port: 68 },
    { ...udp, to: '255.255.255.255', sourcePort: 67, port: 68 },
    { ...udp, to: 'fe80::77:1', from: 'fe80::77:2', sourcePort: 547, port: 546 },
    { ...udp, to: 'fe80::77:1', from: 'fe80::77:2', sourcePort: 40000, port: 546 },
  ]);
  t.same(await seen(), [2, 2, 4]);
  await world.host('client').send([
    { ...udp, to: ipv4, sourcePort: 1067, port: 68 },
    { ...udp, to: ipv4, sourcePort: 68, port: 67 },
    { ...udp, to: ipv6, sourcePort: 547, port: 546 },
    { ...udp, to: 'fe80::77:1', from: 'fe80::77:2', sourcePort: 546, port: 547 },
  ]);
  t.same(await seen(), [2, 2, 4]);
});

/** ICMPv6 between link-local addresses, hop limit 255. */
const link: Omit<ControlMessage, 'type'> = {
  protocol: 'icmpv6',
  from: 'fe80::77:2',
  to: 'fe80::77:1',
  ttl: 255,
  body: '00000000'.padEnd(40, '0'),
};
const icmp: Omit<ControlMessage, 'type'> = {
  protocol: 'icmp',
  from: '10.77.0.2',
  to: '10.77.0.1',
  ttl: 64,
  body: '00000000'.padEnd(64, '0'),
};

t.test('control messages that a host needs come in', needsNft, async t => {
  const world = await loadedWorld(t, config);
  const seen = await witness(
    world,
    'meta l4proto icmp',
    'icmpv6 type { 1, 2, 3, 4, 128 }',
    'icmpv6 type { 130, 131, 132, 143 }',
    'icmpv6 type { 133, 134 }',
    'icmpv6 type 135', // the client's kernel sends these two itself
    'icmpv6 type 136',
    'meta l4proto igmp',
  );
  const igmp = { protocol: 'igmp', from: '10.77.0.2', to: '224.0.0.1', ttl: 1, body: '00000000' } as const;
  await world.host('client').control([
    ...[3, 8, 11, 12].map(type => ({ ...icmp, type })),
    ...[1, 2, 3, 4, 128].map(type => ({ ...link, type, ttl: 64, from: 'fd77::2', to: 'fd77::1' })),
    ...[130, 131, 132, 143].map(type => ({ ...link, type, ttl: 1 })),
    ...[133, 134, 135, 136].map(type => ({ ...link, type })),
    ...[0x11, 0x16, 0x22].map(type => ({ ...igmp, type })), // query, reports
  ]);
  const [v4, v6, groups, routers, asked = 0, told = 0, igmpSeen] = await seen();
  t.same([v4, v6, groups, routers, igmpSeen], [4, 5, 4, 2, 3]);
  t.ok(asked >= 1 && told >= 1);
});

t.test('control messages from further away, and those that only do harm, stay out', needsNft, async t => {
  const world = await loadedWorld(t, config);
  const seen = await witness(
    world,
    'meta l4proto icmp',
    'icmpv6 type { 133, 134, 135, 136 } ip6 hoplimit != 255',
    'icmpv6 type { 130, 131, 132, 143 } ip6 saddr != fe80::/10',
    'icmpv6 type { 137, 139 }',
  );
  await world.host('client').control([
    ...[5, 9, 10, 13, 17].map(type => ({ ...icmp, type })), // redirects, router discovery, timestamps, masks
    ...[133, 134, 135, 136].map(type => ({ ...link, type, ttl: 254 })),
    ...[130, 131, 132, 143].map(type => ({ ...link, type, ttl: 1, from: 'fd77::2' })),
    ...[137, 139].map(type => ({ ...link, type })), // redirects, node information
  ]);
  t.same(await seen(), [0, 0, 0, 0]);
});
