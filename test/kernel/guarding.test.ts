/** Guarding: the look of ports from outside, clients that are let in, and openings for a single use. */
import t from 'tap';
import {
  answers,
  families,
  knocking,
  loadedWorld,
  patient,
  serviceOf,
  ssh,
  sshKnocks,
  until,
} from './loaded.ts';
import type { Packet } from './packet.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };

/** Everything that a scanner would send to a port. */
function probes(to: string, port: number): Packet[] {
  const flags = [['syn'], ['ack'], ['fin'], [], ['fin', 'psh', 'urg'], ['syn', 'ece', 'cwr']] as const;
  return [
    ...flags.map(some => ({ protocol: 'tcp', to, port, flags: some }) as const),
    { protocol: 'tcp', to, port, payload: 'data' },
    { protocol: 'tcp', to, port, badChecksum: true },
    { protocol: 'udp', to, port },
    { protocol: 'udp', to, port, payload: 'data' },
    { protocol: 'udp', to, port, badChecksum: true },
  ];
}

const knockPorts = { services: { ssh: { ...ssh, sequence: [10000, '7001/udp', 2345, '7003/udp'] } } };

t.test('knock ports answer as their closed neighbours do, at every step', needs, async t => {
  const world = await loadedWorld(t, knockPorts);
  for (const family of families) {
    const to = world.server[family];
    const closed = await answers(world, probes(to, 9999));
    t.match(closed[0], /^tcp rst\+ack/);
    t.match(closed[8], family === 'ipv4' ? /^icmp {2}3 3/ : /^icmpv6 {2}1 4/);
    for (const port of [10000, 7001, 2345, 7003]) t.same(await answers(world, probes(to, port)), closed);
    await world.host('client').knock(to, ['10000/tcp', '7001/udp', '2345/tcp']);
    t.match(await knocking(world), [`${world.client[family]} ssh 3/4`]);
    t.same(await answers(world, [{ protocol: 'udp', to, port: 7003 }]), closed.slice(8, 9), 'the last one');
  }
  t.equal((await serviceOf(world, 'ssh')).opened, 2);
});

t.test('knock ports are as silent as their neighbours under policy drop', needs, async t => {
  const world = await loadedWorld(t, { ...knockPorts, policy: 'drop' });
  for (const family of families) {
    const to = world.server[family];
    for (const port of [9999, 10000, 7001]) {
      const heard = new Set(await answers(world, probes(to, port)));
      t.same([...heard], ['silence'], `port ${port}`);
    }
    await world.host('client').knock(to, ['10000/tcp', '7001/udp', '2345/tcp', '7003/udp']);
  }
  t.equal((await serviceOf(world, 'ssh')).opened, 2);
});

t.test('a listener on a knock port is reached as on any other port', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(2345);
  const client = world.host('client');
  await client.knock(world.server.ipv4, ['10000/tcp']);
  t.equal(await client.connect(world.server.ipv4, 2345), 'open');
  t.same(await knocking(world), ['10.77.0.2 ssh 2/4'], 'and a knock it is');
});

t.test('a guarded port lets in clients and allowed sources, and counts', needs, async t => {
  const config = { services: { ssh }, allow: ['10.77.0.3', 'fd77::3'] };
  const world = await loadedWorld(t, config, { clients: ['client', 'friend', 'stranger'] });
  const listener = await world.host('server').listen(22);
  for (const family of families) {
    const to = world.server[family];
    t.equal(await world.host('friend').connect(to, 22), 'open', 'an allowed source');
    await world.host('client').knock(to, sshKnocks);
    t.equal(await world.host('client').connect(to, 22), 'open', 'a client');
    t.equal(await world.host('client').connect(to, 22), 'open', 'again');
    t.equal(await world.host('stranger').probe({ protocol: 'tcp', to, port: 22 }), 'none');
    for (const flags of [['ack'], ['fin'], ['rst'], ['syn', 'ack'], []] as const)
      t.equal(await world.host('stranger').probe({ protocol: 'tcp', to, port: 22, flags }, 100), 'none');
  }
  t.match(await serviceOf(world, 'ssh'), { accepted: 4, refused: 12, opened: 2 });
  t.equal(await listener.arrived(), 6);
});

t.test('an established connection needs no opening any more', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, sshKnocks);
    const session = await client.open(to, 22);
    await world.run('server', 'nft', ['flush', 'set', 'inet', 'knockd', `ssh_clients_${family}`]);
    t.equal(await session.send('hello'), 'alive');
    t.equal(await client.connect(to, 22), 'silent', 'a new one does');
    await session.close();
  }
});

t.test('a retransmitted SYN comes in after its opening is gone', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const client = world.host('client');
  const to = world.server.ipv4;
  const syn: Packet = { protocol: 'tcp', to, port: 22, sourcePort: 17000 };
  const server = world.host('server');
  const deaf = await server.listen(22, { accept: false, backlog: 0 });
  await server.open('127.0.0.1', 22);
  await client.knock(to, sshKnocks);
  t.equal(await client.probe(syn), 'none', 'the queue of the service is full');
  await world.run('server', 'nft', ['flush', 'set', 'inet', 'knockd', 'ssh_clients_ipv4']);
  await deaf.close();
  await server.listen(22);
  t.equal(await client.probe(syn), 'syn-ack');
  t.equal(await client.probe({ ...syn, sourcePort: 17001 }), 'none', 'another SYN does not');
});

const once = { services: { once: { ...ssh, singleUse: true } } };

t.test('a single-use opening serves one connection', needs, async t => {
  const world = await loadedWorld(t, once);
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, sshKnocks);
    const session = await client.open(to, 22);
    t.same((await serviceOf(world, 'once')).clients, [], 'used up');
    t.equal(await client.connect(to, 22), 'silent', 'the second');
    t.equal(await session.send('hello'), 'alive', 'the first stays');
    await session.close();
  }
  t.match(await serviceOf(world, 'once'), { opened: 2, accepted: 2 });
});

t.test('a single-use opening is used up by nothing but a SYN', needs, async t => {
  const world = await loadedWorld(t, once);
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, sshKnocks);
    const shapes = [['ack'], ['rst'], ['fin'], ['syn', 'ack'], ['syn', 'fin'], []] as const;
    await client.send(shapes.map(flags => ({ protocol: 'tcp', to, port: 22, flags })));
    t.same((await serviceOf(world, 'once')).clients, [world.client[family]]);
    t.equal(await client.connect(to, 22), 'open');
  }
});

t.test('a single-use opening is not lost with a SYN that nobody answers', needs, async t => {
  const world = await loadedWorld(t, once);
  const server = world.host('server');
  const client = world.host('client');
  const to = world.server.ipv4;
  const deaf = await server.listen(22, { accept: false, backlog: 0 });
  await server.open('127.0.0.1', 22);
  await client.knock(to, sshKnocks);
  const attempt = client.connect(to, 22, { timeout: 15_000 });
  await until(
    () => serviceOf(world, 'once'),
    ({ accepted }) => accepted === 1,
  );
  t.equal(await client.connect(to, 22), 'silent', 'another connection, meanwhile');
  await deaf.close();
  await server.listen(22);
  t.equal(await attempt, 'open', "TCP's own retransmission came in");
  t.match(await serviceOf(world, 'once'), { clients: [], accepted: 1 });
});

t.test('a single-use datagram is answered, and so are those that follow it', needs, async t => {
  const dns = { ports: ['53/udp'], sequence: ['7001/udp', 10000, 7003], singleUse: true, ...patient };
  const world = await loadedWorld(t, { services: { dns } });
  const listener = await world.host('server').listen(53, { protocol: 'udp' });
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, ['7001/udp', '10000/tcp', '7003/tcp']);
    t.equal(await client.udp(to, 53, 'one', { localPort: 17000 }), 'one');
    t.equal(await client.udp(to, 53, 'two', { localPort: 17000 }), 'two', 'the same flow');
    t.equal(await client.udp(to, 53, 'three', { localPort: 17001 }), 'silent', 'another flow');
  }
  t.equal(await listener.arrived(), 4);
  t.match(await serviceOf(world, 'dns'), { accepted: 2, refused: 2 });
});
