/** Knocking: the packets that count as knocks, and the places that they take a client to. */
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
  status,
  until,
} from './loaded.ts';
import type { Packet } from './packet.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };

t.test('a client that knocks the sequence comes in, over IPv4 and IPv6, and nobody else', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } }, { clients: ['client', 'stranger'] });
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    t.equal(await client.connect(to, 22), 'silent', 'closed before');
    await client.knock(to, sshKnocks.slice(0, 3));
    t.equal(await client.connect(to, 22), 'silent', 'closed after three of four');
    await client.knock(to, sshKnocks.slice(3));
    t.equal(await client.connect(to, 22), 'open', 'open after the fourth');
    t.equal(await world.host('stranger').connect(to, 22), 'silent', 'closed to another host');
  }
  t.same((await serviceOf(world, 'ssh')).clients, [world.client.ipv4, world.client.ipv6].sort());
});

t.test('a knock in one family does not open the other', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  t.equal(await world.host('client').connect(world.server.ipv6, 22), 'silent');
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
});

t.test('knocks may be datagrams, SYNs or both, and the protocol is part of the knock', needs, async t => {
  const udp = { ports: [81], sequence: ['7001/udp', '7011/udp', '7021/udp'], ...patient };
  const mixed = { ports: [82], sequence: ['8001/udp', 8011, '8021/udp'], ...patient };
  const world = await loadedWorld(t, { services: { udp, mixed } });
  const client = world.host('client');
  for (const port of [81, 82]) await world.host('server').listen(port);
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, ['7001/tcp', '7011/tcp', '7021/tcp']);
    t.equal(await client.connect(to, 81), 'silent', 'SYNs where datagrams are asked for');
    await client.knock(to, ['7001/udp', '7011/udp', '7021/udp']);
    t.equal(await client.connect(to, 81), 'open');
    await client.knock(to, ['8001/udp', '8011/udp', '8021/udp']);
    t.equal(await client.connect(to, 82), 'silent', 'a datagram where a SYN is asked for');
    await client.knock(to, ['8001/udp', '8011/tcp', '8021/udp']);
    t.equal(await client.connect(to, 82), 'open');
  }
});

t.test('every service has its own door, and one sequence opens no other', needs, async t => {
  const services = {
    ssh,
    web: { ports: [80, '443/tcp'], sequence: [4000, 5000, 6000], ...patient },
  };
  const world = await loadedWorld(t, { services });
  const client = world.host('client');
  const to = world.server.ipv4;
  for (const port of [22, 80, 443]) await world.host('server').listen(port);
  await client.knock(to, ['4000/tcp', '5000/tcp', '6000/tcp']);
  t.equal(await client.connect(to, 80), 'open');
  t.equal(await client.connect(to, 443), 'open');
  t.equal(await client.connect(to, 22), 'silent');
  t.match((await status(world)).services, { ssh: { opened: 0 }, web: { opened: 1, accepted: 2 } });
});

t.test(
  'each user has a sequence, which may begin like others, and status names the users that are in',
  needs,
  async t => {
    const sequences = { alice: ['7001/udp', 7003, '7002/udp'], bob: ['7001/udp', 7004] };
    const services = {
      admin: { ports: [8443], sequences, ...patient },
      other: { ports: [8444], sequence: ['7001/udp', 7003, 7009, 7015], ...patient },
    };
    const world = await loadedWorld(t, { services }, { clients: ['client', 'second', 'third'] });
    const to = world.server.ipv4;
    await world.host('client').knock(to, ['7001/udp', '7003/tcp']);
    t.same(await knocking(world), ['10.77.0.2 admin alice 2/3', '10.77.0.2 other 2/4']);
    await world.host('second').knock(to, ['7001/udp', '7004/tcp']);
    await world.host('client').knock(to, ['7002/udp']);
    await world.host('third').knock(to, ['7001/udp', '7003/tcp', '7009/tcp', '7015/tcp']);
    t.same((await serviceOf(world, 'admin')).clients, ['10.77.0.2 alice', '10.77.0.3 bob']);
    t.same((await serviceOf(world, 'other')).clients, ['10.77.0.4']);
    await world.host('client').knock(to, ['7001/udp', '7004/tcp']);
    t.same(
      (await serviceOf(world, 'admin')).clients,
      ['10.77.0.2 bob', '10.77.0.3 bob'],
      'who comes again as another is that other',
    );
  },
);

t.test('only valid new packets to an address of the server knock', needs, async t => {
  const services = {
    ssh: { ...ssh, sequence: ['7000/udp', ...ssh.sequence] },
    web: { ...ssh, ports: [80] },
  };
  const world = await loadedWorld(t, { services });
  const client = world.host('client');
  const shapes: readonly Partial<Packet>[] = [
    ...([['ack'], ['fin'], ['rst'], ['syn', 'ack'], ['syn', 'fin'], ['syn', 'rst'], []] as const).map(
      flags => ({ flags }),
    ),
    { flags: ['fin', 'psh', 'urg'] },
    { badChecksum: true },
  ];
  for (const family of families) {
    const to = world.server[family];
    await client.send(shapes.map(shape => ({ protocol: 'tcp', to, port: 10000, ...shape })));
    await client.send([{ protocol: 'udp', to, port: 7000, badChecksum: true }]);
  }
  for (const to of ['10.77.0.255', '255.255.255.255', '224.0.0.1'])
    await client.send([{ protocol: 'udp', to, port: 7000 }]);
  t.same(await knocking(world), []);
  t.equal((await status(world)).wrongKnocks, 0);

  await client.send([
    { protocol: 'tcp', to: world.server.ipv4, port: 10000, flags: ['syn', 'ece', 'cwr'] },
    { protocol: 'udp', to: world.server.ipv6, port: 7000 },
  ]);
  t.same(await knocking(world), ['10.77.0.2 web 1/4', 'fd77::2 ssh 1/5'], 'these do');
});

t.test('established traffic and loopback are never checked', needs, async t => {
  const services = { ssh: { ...ssh, sequence: ['7000/udp', 10000, 2345] } };
  const world = await loadedWorld(t, { services });
  const server = world.host('server');
  await server.listen(22);
  await world.host('client').listen(9000, { protocol: 'udp' });
  const asked = await server.udp(world.client.ipv4, 9000, 'answer to port 7000', { localPort: 7000 });
  t.equal(asked, 'answer to port 7000');
  await server.knock('127.0.0.1', ['7000/udp']);
  await server.knock(world.server.ipv6, ['7000/udp']);
  t.same(await knocking(world), [], 'an answer to the server is no knock, nor is a knock at itself');
  for (const to of ['127.0.0.1', '::1', world.server.ipv4, world.server.ipv6])
    t.equal(await server.connect(to, 22), 'open', `the server may go to its own ${to}`);
  t.equal((await serviceOf(world, 'ssh')).refused, 0);
});

t.test('the right knock moves a client on, and its clock starts again', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const client = world.host('client');
  const left = async () => (await status(world)).knocking[0]?.expires ?? Number.NaN;
  for (const [index, knock] of sshKnocks.slice(0, 3).entries()) {
    if (index > 0) await until(left, seconds => seconds < 298.5);
    const start = performance.now();
    await client.knock(world.server.ipv4, [knock]);
    const is = await left();
    const since = (performance.now() - start) / 1000;
    t.ok(is > 299.5 - since, `a full clock: ${is} s are left after ${since} s`);
    t.same(await knocking(world), [`10.77.0.2 ssh ${index + 1}/4`]);
  }
});

t.test(
  'a knock made before is ignored, for retransmissions and for clients that start over',
  needs,
  async t => {
    const world = await loadedWorld(t, { services: { ssh } });
    await world.host('server').listen(22);
    const client = world.host('client');
    const to = world.server.ipv4;
    const syn = (port: number): Packet => ({ protocol: 'tcp', to, port, sourcePort: 17000 + (port % 100) });
    for (const [index, port] of [10000, 2345, 3456].entries()) {
      await client.send([syn(port), syn(port), syn(port)]);
      t.same(await knocking(world), [`10.77.0.2 ssh ${index + 1}/4`], 'a SYN sent three times');
    }
    await client.knock(to, ['10000/tcp', '2345/tcp', '3456/tcp', '10000/tcp']);
    t.same(await knocking(world), ['10.77.0.2 ssh 3/4'], 'the place stays');
    t.equal((await status(world)).wrongKnocks, 0);
    await client.knock(to, ['1234/tcp']);
    t.equal(await client.connect(to, 22), 'open');
  },
);

t.test('a sequence may come back to a port it had before', needs, async t => {
  const again = { ports: [80], sequence: [4000, 5000, 4000, 6000], ...patient };
  const world = await loadedWorld(t, { services: { again } });
  await world.host('server').listen(80);
  const client = world.host('client');
  await client.knock(world.server.ipv4, ['4000/tcp', '5000/tcp', '6000/tcp']);
  t.equal(await client.connect(world.server.ipv4, 80), 'silent', 'one left out');
  await client.knock(world.server.ipv4, ['4000/tcp', '5000/tcp', '4000/tcp', '6000/tcp']);
  t.equal(await client.connect(world.server.ipv4, 80), 'open');
});

t.test(
  'a wrong knock puts a client back to the start, is counted, and may be a first one',
  needs,
  async t => {
    const web = { ports: [80], sequence: [4000, 5000, 6000], ...patient };
    const world = await loadedWorld(t, { services: { ssh, web } });
    const client = world.host('client');
    for (const [family, wrong] of [
      ['ipv4', 2],
      ['ipv6', 4],
    ] as const) {
      const to = world.server[family];
      const from = world.client[family];
      await client.knock(to, ['10000/tcp', '2345/tcp', '1234/tcp']);
      t.same(await knocking(world), [], 'the fourth instead of the third');
      await client.knock(to, ['10000/tcp', '2345/tcp', '4000/tcp']);
      t.same(await knocking(world), [`${from} web 1/3`], 'the first of another service');
      t.equal((await status(world)).wrongKnocks, wrong);
      await client.knock(to, ['5000/tcp', '6000/tcp']);
    }
    t.match((await status(world)).services, { ssh: { opened: 0 }, web: { opened: 2 } });
  },
);

t.test('a client that knocks too fast is ignored until it slows down, and others are not', needs, async t => {
  const sequence = Array.from({ length: 8 }, (_, index) => 4000 + index * 1000);
  const knocks = sequence.map(port => `${port}/tcp`);
  const world = await loadedWorld(
    t,
    { services: { web: { ports: [80], sequence, ...patient } } },
    { clients: ['client', 'other'] },
  );
  await world.host('server').listen(80);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    const knock = (port: number): Packet => ({ protocol: 'tcp', to, port });
    await client.send([...Array<Packet>(600).fill(knock(4000)), ...sequence.slice(1).map(knock)]);
    t.equal(await client.connect(to, 80), 'silent', 'after 600 first knocks at once');
    await world.host('other').knock(to, knocks);
    t.equal(await world.host('other').connect(to, 80), 'open', 'another client, meanwhile');
    await until(
      async () => {
        await client.knock(to, knocks);
        return client.connect(to, 80);
      },
      reached => reached === 'open',
    );
    t.pass('it slowed down');
  }
});

t.test('250 knocks at once are checked', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const knock = (port: number): Packet => ({ protocol: 'tcp', to: world.server.ipv4, port });
  await world.host('client').send([...Array<Packet>(246).fill(knock(10000)), ...ssh.sequence.map(knock)]);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
});

t.test(
  'the last knock lets a client in, takes its progress away, and refreshes a client that is in',
  needs,
  async t => {
    const world = await loadedWorld(t, { services: { ssh } });
    const left = async () => (await status(world)).services.ssh?.clients[0]?.expires ?? Number.NaN;
    for (const opened of [1, 2]) {
      if (opened > 1) await until(left, seconds => seconds < 298.5);
      await world.host('client').knock(world.server.ipv6, sshKnocks);
      t.ok((await left()) > 298.5, 'the whole of openFor');
      t.same(await knocking(world), []);
      t.match(await serviceOf(world, 'ssh'), { clients: [world.client.ipv6], opened });
    }
  },
);

t.test('a link-local address, which others have on other links, is never a client', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  await world.addAddress('client', '169.254.7.7/16');
  await world.addAddress('server', '169.254.7.1/16');
  for (const [from, to] of [
    ['169.254.7.7', '169.254.7.1'],
    ['fe80::7:2', world.server.ipv6],
  ] as const) {
    await world.host('client').knock(to, sshKnocks, { from });
    t.same(await serviceOf(world, 'ssh'), { clients: [], opened: 0, accepted: 0, refused: 0 }, from);
    t.same(await knocking(world), []);
    const { status, stderr } = await world.knockd(['grant', 'ssh', from]);
    t.equal(status, 64);
    t.match(stderr, /link-local address.*"allow"/);
  }
  await load(world, { services: { ssh }, allow: ['169.254.7.7'] });
  t.equal(
    await world.host('client').connect('169.254.7.1', 22, { from: '169.254.7.7' }),
    'open',
    'it may be allowed',
  );
});
