/** The rig itself, proved on the article's ruleset and on hosts without any rules. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { createWorld, missing } from './world.ts';

const article = readFileSync('test/kernel/article.nft', 'utf8');
const sequence = ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp'];

t.test(
  "the article's ruleset lets in clients that knock, and only them",
  { skip: missing('namespaces', 'nft') },
  async t => {
    const world = await createWorld(t, { clients: ['client', 'stranger'] });
    await world.nft(article);
    const { ipv4 } = world.server;
    await world.host('server').listen(22);
    const client = world.host('client');
    const stranger = world.host('stranger');

    t.equal(await client.connect(ipv4, 22), 'silent', 'closed before the knocks');
    await client.knock(ipv4, sequence.slice(0, 3));
    t.equal(await client.connect(ipv4, 22), 'silent', 'closed after three of four');
    await client.knock(ipv4, sequence.slice(3));
    t.equal(await client.connect(ipv4, 22), 'open', 'open after the fourth');
    t.equal(await stranger.connect(ipv4, 22), 'silent', 'closed to another host');
    t.match(await world.list(), /10\.77\.0\.2 timeout 10s expires/);

    const session = await client.open(ipv4, 22);
    t.equal(await session.send('hello'), 'alive');
    await world.nft('insert rule inet filter input tcp dport 22 drop');
    t.equal(await session.send('again', 300), 'dead', 'a session that the server no longer hears');
  },
);

t.test(
  "three fast sweeps over all ports open the article's ruleset",
  { skip: missing('namespaces', 'nft') },
  async t => {
    const world = await createWorld(t);
    await world.nft(article);
    await world.host('server').listen(22);
    const client = world.host('client');

    const sent = await client.sweep({ address: world.server.ipv4, rounds: 3 });
    t.equal(sent.packets, 3 * 65535);
    t.equal(await client.connect(world.server.ipv4, 22), 'open', `after ${sent.seconds.toFixed(2)} s`);
  },
);

t.test(
  'hosts without rules answer as Linux does, in both families',
  { skip: missing('namespaces') },
  async t => {
    const world = await createWorld(t);
    const server = world.host('server');
    const client = world.host('client');
    const tcp = await server.listen(22);
    const udp = await server.listen(53, { protocol: 'udp' });

    for (const to of [world.server.ipv4, world.server.ipv6]) {
      t.equal(await client.connect(to, 22), 'open');
      t.equal(await client.connect(to, 23), 'refused');
      t.equal(await client.udp(to, 53, 'question'), 'question');
      t.equal(await client.udp(to, 54, 'question'), 'refused');
      t.equal(await client.probe({ protocol: 'tcp', to, port: 22 }), 'syn-ack');
      t.equal(await client.probe({ protocol: 'tcp', to, port: 23 }), 'rst');
      t.equal(await client.probe({ protocol: 'udp', to, port: 53 }), 'udp');
      t.equal(await client.probe({ protocol: 'udp', to, port: 54 }), 'icmp-port-unreachable');
      t.equal(await client.probe({ protocol: 'udp', to, port: 53, badChecksum: true }, 50), 'none');
      t.equal(await client.probe({ protocol: 'tcp', to, port: 22, flags: ['ack'] }), 'rst');
      t.equal(await client.probe({ protocol: 'tcp', to, port: 22, flags: ['fin'] }, 50), 'none');
    }
    t.equal(await udp.arrived(), 4, 'two questions and two raw datagrams');
    t.ok((await tcp.arrived()) >= 2);
  },
);

t.test('raw packets may come from anybody', { skip: missing('namespaces') }, async t => {
  const world = await createWorld(t);
  const client = world.host('client');
  const captured = await world.host('server').capture({ port: 7001 });
  await client.knock(world.server.ipv4, ['7001/udp'], { from: '198.18.0.9' });
  await client.knock(world.server.ipv6, ['7001/tcp'], { from: '2001:db8::9' });
  await client.send([{ protocol: 'udp', to: '10.77.0.255', port: 7001 }]);
  const flood = { to: world.server.ipv4, knocks: ['7001/tcp'], count: 100 };
  await client.flood({ ...flood, sources: { first: '198.18.1.254', count: 100 } });

  const sources = (await captured.end()).map(({ from, protocol }) => `${from} ${protocol}`);
  t.same(sources.slice(0, 4), ['198.18.0.9 udp', '2001:db8::9 tcp', '10.77.0.2 udp', '198.18.1.254 tcp']);
  t.equal(sources.at(-1), '198.18.2.97 tcp');
  t.equal(sources.length, 103);
});

t.test('a full accept queue lets no more in', { skip: missing('namespaces') }, async t => {
  const world = await createWorld(t);
  const to = world.server.ipv4;
  await world.host('server').listen(22, { accept: false, backlog: 0 });
  t.equal(await world.host('server').connect('127.0.0.1', 22), 'open');
  await world
    .host('client')
    .open(to, 22, { timeout: 400 })
    .catch(() => undefined);
  t.equal(await world.host('client').connect(to, 22), 'silent');
});

t.test('a published port leads to the container', { skip: missing('namespaces', 'nft') }, async t => {
  const world = await createWorld(t, { container: true });
  await world.host('container').listen(80);
  await world.publish(8080, 80);
  for (const to of [world.server.ipv4, world.server.ipv6]) {
    t.equal(await world.host('client').connect(to, 8080), 'open');
    t.equal(await world.host('client').connect(to, 80), 'refused');
  }
  t.equal(await world.host('client').connect('10.78.0.2', 80), 'open', 'the server forwards');
});

t.test('one host may have many addresses', { skip: missing('namespaces') }, async t => {
  const world = await createWorld(t);
  await world.host('server').listen(22);
  await world.addAddress('client', '10.77.0.50/24');
  await world.addAddress('client', 'fd77::50/64');
  t.equal(
    await world.host('client').connect(world.server.ipv4, 22, { from: '10.77.0.50', localPort: 4000 }),
    'open',
  );
  t.equal(
    await world.host('client').connect(world.server.ipv4, 22, { from: '10.77.0.50', localPort: 4000 }),
    'open',
  );
  t.equal(await world.host('client').connect(world.server.ipv6, 22, { from: 'fd77::50' }), 'open');
});

t.test(
  'a program that stays is read line by line, and ends with the world',
  { skip: missing('namespaces') },
  async t => {
    const world = await createWorld(t);
    const source = `process.on('SIGTERM', () => { console.log('bye'); process.exit(3); });
      console.log('one'); console.error('two'); setInterval(() => {}, 1000);`;
    const program = world.start('server', process.execPath, ['-e', source]);
    t.equal(await program.line(/two/), 'two');
    const { status, stdout } = await program.stop();
    t.equal(status, 3);
    t.equal(stdout, 'one\nbye\n');
    await t.rejects(program.line(/never/), /ended with status 3/);
  },
);
