/** The keys of the configuration, each seen from outside. `policy` and `hook` have files of their own. */
import t from 'tap';
import {
  families,
  knocking,
  load,
  loadedWorld,
  patient,
  serviceOf,
  ssh,
  sshKnocks,
  until,
} from './loaded.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };
const needsNft = { skip: missing('namespaces', 'knockd', 'nft') };

async function ip(world: World, ...args: string[]): Promise<void> {
  const { status, stderr } = await world.run('server', 'ip', args);
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
}

t.test(
  'closed: nothing, a TCP reset or an ICMP port unreachable, or ICMP admin-prohibited',
  needs,
  async t => {
    const services = {
      quiet: { ...ssh, ports: [22, '22/udp'] },
      polite: { ...ssh, ports: [80, '80/udp'], sequence: [4000, 5000, 6000], closed: 'reject' },
      stern: { ...ssh, ports: [90, '90/udp'], sequence: [4001, 5001, 6001], closed: 'prohibited' },
    };
    const world = await loadedWorld(t, { services });
    const server = world.host('server');
    const client = world.host('client');
    for (const port of [22, 80, 90]) {
      await server.listen(port);
      await server.listen(port, { protocol: 'udp' });
    }
    const seen = async (to: string, port: number) => [
      await client.probe({ protocol: 'tcp', to, port }),
      await client.probe({ protocol: 'udp', to, port }),
    ];
    for (const family of families) {
      t.same(await seen(world.server[family], 22), ['none', 'none']);
      t.same(await seen(world.server[family], 80), ['rst', 'icmp-port-unreachable']);
      t.equal(await client.connect(world.server[family], 80), 'refused');
      t.equal(await client.udp(world.server[family], 80, 'hello'), 'refused');
      t.same(await seen(world.server[family], 90), ['icmp-admin-prohibited', 'icmp-admin-prohibited']);
    }
    await load(world, { services: { ...services, quiet: { ...services.quiet, closed: 'reject' } } });
    t.same(await seen(world.server.ipv4, 22), ['rst', 'icmp-port-unreachable'], 'changed');
    await load(world, { services, closed: 'reject' });
    t.same(await seen(world.server.ipv4, 22), ['rst', 'icmp-port-unreachable'], 'for all services');
  },
);

t.test('interfaces: packets that come in elsewhere are not looked at', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh }, interfaces: ['eth0'] }, { container: true });
  await world.host('server').listen(22);
  const behind = world.host('container');
  const [outside, inside] = [world.server.ipv4, '10.78.0.1'];
  t.equal(await world.host('client').connect(outside, 22), 'silent');
  t.equal(await behind.connect(inside, 22), 'open', 'comes in by behind0');
  await behind.knock(inside, sshKnocks.slice(0, 2));
  t.same(await knocking(world), [], 'no knocks there');
  await world.host('client').knock(outside, sshKnocks);
  t.equal(await world.host('client').connect(outside, 22), 'open');

  await load(world, { services: { ssh }, interfaces: ['behind0', 'other*'] });
  t.equal(await behind.connect(inside, 22), 'silent', 'the other way round');
  t.equal(await world.host('client').connect('fd77::1', 22), 'open');
  await load(world, { services: { ssh }, interfaces: ['be*', 'eth0'] });
  t.equal(await behind.connect(inside, 22), 'silent', 'a wildcard');
  t.equal(await world.host('client').connect('fd77::1', 22), 'silent');
  await load(world, { services: { ssh }, interfaces: ['behind'] });
  t.equal(await behind.connect(inside, 22), 'open', 'no wildcard');
});

t.test('interfaces: one that comes later is guarded from its first packet', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh }, interfaces: ['late0'] });
  await world.host('server').listen(22);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
  await ip(world, 'link', 'add', 'late0', 'type', 'veth', 'peer', 'name', 'eth1', 'netns', 'client');
  await ip(world, 'addr', 'add', '10.79.0.1/24', 'dev', 'late0');
  await ip(world, 'link', 'set', 'late0', 'up');
  await ip(world, '-n', 'client', 'addr', 'add', '10.79.0.2/24', 'dev', 'eth1');
  await ip(world, '-n', 'client', 'link', 'set', 'eth1', 'up');
  const links = () =>
    world.run('server', 'sh', ['-c', 'ip -br link show late0; ip -n client -br link show eth1']);
  // a link that was just set up drops all packets for up to a second
  await until(links, ({ stdout }) => stdout.match(/ UP /g)?.length === 2);
  const client = world.host('client');
  t.equal(await client.connect('10.79.0.1', 22), 'silent');
  await client.knock('10.79.0.1', sshKnocks);
  t.equal(await client.connect('10.79.0.1', 22), 'open');
});

t.test('allow: addresses and networks that need no knock', needs, async t => {
  const allow = ['10.77.0.3', '198.18.4.0/22', 'fd77::3', '2001:db8:1::/48'];
  const clients = ['client', 'friend'];
  const world = await loadedWorld(t, { services: { ssh }, allow }, { clients });
  await world.host('server').listen(22);
  for (const family of families) {
    t.equal(await world.host('friend').connect(world.server[family], 22), 'open');
    t.equal(await world.host('client').connect(world.server[family], 22), 'silent');
  }
  const client = world.host('client');
  const addresses = [
    ['198.18.4.0', 'open'],
    ['198.18.7.255', 'open'],
    ['198.18.3.255', 'silent'],
    ['198.18.8.0', 'silent'],
    ['2001:db8:1::', 'open'],
    ['2001:db8:1:ffff::9', 'open'],
    ['2001:db8:0:ffff::9', 'silent'],
    ['2001:db8:2::', 'silent'],
  ] as const;
  for (const [from, reach] of addresses) {
    const [length, family] = from.includes(':') ? (['128', 'ipv6'] as const) : (['32', 'ipv4'] as const);
    await world.addAddress('client', `${from}/${length}`);
    if (family === 'ipv6') await ip(world, 'route', 'replace', `${from}/128`, 'via', world.client.ipv6);
    t.equal(await client.connect(world.server[family], 22, { from }), reach, from);
  }
});

t.test('prefix: one knock opens for the whole network, and for no other', needs, async t => {
  const prefix = { ipv4: 24, ipv6: 64 };
  const clients = ['client', 'neighbour'];
  const world = await loadedWorld(t, { services: { ssh }, prefix }, { clients });
  await world.host('server').listen(22);
  await world.addAddress('client', '198.18.0.9/32');
  await world.addAddress('client', '2001:db8::9/128');
  await ip(world, 'route', 'add', '2001:db8::9/128', 'via', world.client.ipv6);
  for (const [family, elsewhere] of [
    ['ipv4', '198.18.0.9'],
    ['ipv6', '2001:db8::9'],
  ] as const) {
    const to = world.server[family];
    t.equal(await world.host('neighbour').connect(to, 22), 'silent');
    await world.host('client').knock(to, sshKnocks.slice(0, 2));
    await world.host('neighbour').knock(to, sshKnocks.slice(2));
    t.equal(await world.host('neighbour').connect(to, 22), 'open', 'they knocked together');
    t.equal(await world.host('client').connect(to, 22), 'open');
    t.equal(await world.host('client').connect(to, 22, { from: elsewhere }), 'silent', elsewhere);
  }
  t.same((await serviceOf(world, 'ssh')).clients, ['10.77.0.0/24', 'fd77::/64']);
});

t.test('priority: whose chain comes later sees only what was let through', needsNft, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.nft(`table inet later {
  counter seen { }
  chain input {
    type filter hook input priority -5
    tcp dport 22 counter name seen
  }
}`);
  const seen = async () => {
    await world.host('client').knock(world.server.ipv4, ['22/tcp']);
    return Number((await world.list()).match(/counter seen \{\s*packets (\d+)/)?.[1]);
  };
  t.equal(await seen(), 0, 'filter - 10 unless told');
  await load(world, { services: { ssh }, priority: 10 });
  t.equal(await seen(), 1);
  await load(world, { services: { ssh }, priority: -199 });
  t.equal(await seen(), 1);
});

t.test('limits: a full set lets nobody more in, and forgets nobody', needs, async t => {
  const clients = ['one', 'two', 'three'];
  const config = { services: { ssh }, limits: { clients: 2 } };
  const world = await loadedWorld(t, config, { clients });
  await world.host('server').listen(22);
  for (const family of families) {
    const reached = [];
    for (const name of clients) {
      await world.host(name).knock(world.server[family], sshKnocks);
      reached.push(await world.host(name).connect(world.server[family], 22));
    }
    t.same(reached, ['open', 'open', 'silent']);
    t.equal(await world.host('one').connect(world.server[family], 22), 'open');
  }
});

t.test(
  'limits: if no more may knock, nobody else gets in, and clients in mid-sequence go on',
  needs,
  async t => {
    const clients = ['one', 'two', 'three'];
    const services = { ssh: { ...ssh, sequence: [10000, 2345, 1234] } };
    const world = await loadedWorld(t, { services, limits: { progress: 2 } }, { clients });
    await world.host('server').listen(22);
    for (const name of clients) await world.host(name).knock(world.server.ipv4, ['10000/tcp']);
    t.same(await knocking(world), ['10.77.0.2 ssh 1/3', '10.77.0.3 ssh 1/3']);
    for (const name of clients) await world.host(name).knock(world.server.ipv4, ['2345/tcp', '1234/tcp']);
    const reached = await Promise.all(clients.map(name => world.host(name).connect(world.server.ipv4, 22)));
    t.same(reached, ['open', 'open', 'silent']);
  },
);

t.test('ports: ranges of both protocols are guarded to their ends and not beyond', needs, async t => {
  const range = { ports: ['6000-6002/tcp', '6001-6003/udp', 7000], sequence: [4000, 5000, 6100], ...patient };
  const world = await loadedWorld(t, { services: { range } });
  const client = world.host('client');
  const tcp = [5999, 6000, 6001, 6002, 6003, 7000];
  const udp = [6000, 6001, 6002, 6003, 6004];
  const closed = async (family: 'ipv4' | 'ipv6') => {
    const to = world.server[family];
    const reached = await Promise.all([
      ...tcp.map(async port => ({ port: `${port}/tcp`, reach: await client.connect(to, port) })),
      ...udp.map(async port => ({ port: `${port}/udp`, reach: await client.udp(to, port, '?') })),
    ]);
    return reached.flatMap(({ port, reach }) => (reach === 'silent' ? [port] : [])).join(' ');
  };
  for (const family of families) {
    t.equal(await closed(family), '6000/tcp 6001/tcp 6002/tcp 7000/tcp 6001/udp 6002/udp 6003/udp');
    await client.knock(world.server[family], ['4000/tcp', '5000/tcp', '6100/tcp']);
    t.equal(await closed(family), '', 'one knock opens all of them');
  }
});

t.test('a guarded UDP service answers its clients, and nobody else', needs, async t => {
  const dns = { ports: ['53/udp'], sequence: ['7001/udp', '7005/udp', '7003/udp'], ...patient };
  const world = await loadedWorld(t, { services: { dns } }, { clients: ['client', 'stranger'] });
  await world.host('server').listen(53, { protocol: 'udp' });
  for (const family of families) {
    const to = world.server[family];
    await world.host('client').knock(to, ['7001/udp', '7005/udp', '7003/udp']);
    t.equal(await world.host('client').udp(to, 53, 'a question'), 'a question');
    t.equal(await world.host('stranger').udp(to, 53, 'a question'), 'silent');
  }
});

t.test('log.refused: refused packets are reported, at most some ten a second', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh }, log: { group: 7 } });
  const client = world.host('client');
  const supervisor = world.startKnockd(['run'], { KNOCKD_NFT_LOG_FORMAT: 'json' });
  const count = (event: string) =>
    supervisor.lines().filter(line => line.includes(`"event":"${event}"`)).length;
  await supervisor.line(/"event":"(loaded|unchanged)"/);
  await client.flood({ to: world.server.ipv4, knocks: ['22/tcp'], count: 20 });
  await client.knock(world.server.ipv4, sshKnocks);
  await supervisor.line(/"event":"opened"/);
  t.equal(count('refused'), 0, 'not unless asked for');
  world.write({ services: { ssh }, log: { group: 7, refused: true } });
  await supervisor.line(/"event":"swapped"/);
  await client.flood({ to: world.server.ipv6, knocks: ['22/tcp'], count: 1000 });
  await until(
    async () => count('refused'),
    refused => refused >= 10,
  );
  await client.knock(world.server.ipv6, sshKnocks);
  await supervisor.line(/"event":"opened"/);
  t.ok(count('refused') < 100, 'a flood is not written');
});
