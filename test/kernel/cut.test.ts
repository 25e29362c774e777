/** `revoke --cut`: connections end, and stay ended, and no others. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { families, load, loadedWorld, patient, ssh, sshKnocks, until } from './loaded.ts';
import type { Running } from './process.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };
const clients = ['client', 'other'];
const admin = {
  ports: [8443],
  sequences: { alice: [7001, 7003, 7005], bob: [7001, 7004, 7006] },
  ...patient,
};

/** Runs `revoke`, which has to succeed without a message. */
async function revoke(t: Test, world: World, ...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await world.knockd(['revoke', ...words]);
  t.same({ status, stderr }, { status: 0, stderr: '' }, `revoke ${words.join(' ')}`);
  return stdout.trimEnd();
}

/** Sends a line ten times a second to whoever connects, and says who came and went. */
const talker = `
  const net = require('node:net');
  for (const at of process.argv.slice(1)) {
    const [host, port] = at.split(' ');
    net.createServer(socket => {
      console.log('came ' + port);
      const timer = setInterval(() => socket.write('tick\\n'), 100);
      socket.on('error', error => console.log(error.code + ' ' + port));
      socket.on('close', () => { clearInterval(timer); console.log('gone ' + port); });
    }).listen(port, host, () => console.log('listens ' + port));
  }`;

/** Listens only: prints what it hears, and how the connection ended. */
const hearer = `
  const net = require('node:net');
  const [port, host] = process.argv[1].split(' ');
  const socket = net.connect(port, host, () => console.log('connected'));
  socket.on('data', () => console.log('tick'));
  socket.on('error', error => console.log(error.code));
  socket.on('close', () => console.log('closed'));`;

async function talkOn(world: World, host: string, ...at: readonly string[]): Promise<Running> {
  const running = world.start(host, process.execPath, ['-e', talker, ...at]);
  for (const one of at) await running.line(new RegExp(`^listens ${one.split(' ')[1]}$`));
  return running;
}

async function hear(world: World, to: string, port: number): Promise<Running> {
  const running = world.start('client', process.execPath, ['-e', hearer, `${port} ${to}`]);
  await running.line(/^tick$/);
  return running;
}

/** How many ticks arrive from now on, in half a second. */
async function ticks(hearing: Running): Promise<number> {
  const before = hearing.lines().length;
  await delay(500);
  return hearing
    .lines()
    .slice(before)
    .filter(line => line === 'tick').length;
}

/** Ends the tracking of all connections, and nothing else. */
async function untrackAll(t: Test, world: World): Promise<void> {
  const program = new URL('./untrack.js', import.meta.url).pathname;
  const { status, stdout, stderr } = await world.run('server', process.execPath, [program]);
  t.same({ status, stderr }, { status: 0, stderr: '' }, `untracked ${stdout.replaceAll('\n', ' ')}`);
}

/** Counts the resets that come from a port. */
const resets = (port: number) => `table inet witness
delete table inet witness
table inet witness {
  counter resets { }
  chain input {
    type filter hook input priority 0
    tcp sport ${port} tcp flags & rst == rst counter name resets
  }
}`;

t.test('the end of tracking alone ends nothing, --cut does: each sort of socket', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, ports: ['22-24/tcp'] } } });
  const { ipv4, ipv6 } = world.server;
  // each port has its sort of socket: IPv4, IPv6, and one for both that talks IPv4
  const talking = await talkOn(world, 'server', '0.0.0.0 22', ':: 23', ':: 24');
  for (const [to, port] of [
    [ipv4, 22],
    [ipv6, 23],
    [ipv4, 24],
  ] as const) {
    const client = to === ipv4 ? world.client.ipv4 : world.client.ipv6;
    await world.host('client').knock(to, sshKnocks);
    const hearing = await hear(world, to, port);
    t.match(await revoke(t, world, client), 'running connections go on (--cut ends them)');
    t.ok((await ticks(hearing)) > 0, `${port}: it goes on without an opening`);
    await untrackAll(t, world);
    t.ok((await ticks(hearing)) > 0, `${port}: and when its tracking was ended`);
    await world.run('client', 'nft', ['-f', '-'], { input: resets(port) });
    t.equal(await revoke(t, world, client, '--cut'), `${client} was not let in to ssh; 1 connection cut`);
    await hearing.line(/^(ECONNRESET|closed)$/); // Node.js calls it an end where data came with it
    const { stdout } = await world.run('client', 'nft', ['list', 'counter', 'inet', 'witness', 'resets']);
    t.match(stdout, /packets [1-9]/, 'and it is a reset');
    await talking.line(new RegExp(`^gone ${port}$`));
    t.equal(await world.host('client').connect(to, port), 'silent');
    t.equal(await revoke(t, world, client, '--cut'), `${client} was not let in to ssh; no connection to cut`);
  }
});

/** Connects again and again from one port, as soon as it is reset, and says when it hears something. */
const reconnecting = `
  const net = require('node:net');
  const [host, port, localPort] = process.argv[1].split(' ');
  function again() {
    const socket = net.connect({ host, port, localPort: Number(localPort) });
    socket.on('data', () => console.log('tick')).on('error', () => {}).on('close', again);
  }
  again();`;

t.test('a client that connects again from the same port as soon as it is cut', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, closed: 'reject' } } });
  await talkOn(world, 'server', ':: 22');
  for (const family of [...families, ...families, ...families, ...families]) {
    const [to, from] = [world.server[family], world.client[family]];
    await world.host('client').knock(to, sshKnocks);
    const calling = world.start('client', process.execPath, ['-e', reconnecting, `${to} 22 17000`]);
    await calling.line(/^tick$/);
    t.equal(await revoke(t, world, from, '--cut'), `revoked ssh from ${from}; 1 connection cut`);
    t.equal(await ticks(calling), 0, 'it is out');
    t.equal((await world.run('server', 'ss', ['-Htn', 'state', 'connected', 'sport', '22'])).stdout, '');
    await calling.stop();
  }
});

t.test('only the connections of that client, to that service', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh, admin } }, { clients });
  for (const port of [22, 80, 8443]) await world.host('server').listen(port);
  const [client, other] = [world.host('client'), world.host('other')];
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, [...sshKnocks, '7001/tcp', '7003/tcp', '7005/tcp']);
    await other.knock(to, [...sshKnocks, '7001/tcp', '7004/tcp', '7006/tcp']);
    const cut = [await client.open(to, 22), await client.open(to, 22)];
    const kept = [await client.open(to, 8443), await client.open(to, 80), await other.open(to, 22)];
    const bobs = await other.open(to, 8443);
    t.equal(
      await revoke(t, world, 'ssh', world.client[family], '--cut'),
      `revoked ssh from ${world.client[family]}; 2 connections cut`,
    );
    for (const session of cut) t.equal(await session.send('x'), 'dead');
    for (const session of kept) t.equal(await session.send('x'), 'alive');
    t.equal(
      await revoke(t, world, 'bob', '--cut'),
      `revoked admin from ${world.addresses('other')[family]} (bob); 1 connection cut`,
    );
    t.equal(await bobs.send('x'), 'dead');
    for (const session of kept) t.equal(await session.send('x'), 'alive');
    const json = JSON.parse(await revoke(t, world, world.client[family], '--cut', '--json'));
    t.same(json, {
      event: 'revoked',
      revoked: [{ service: 'admin', client: world.client[family], user: 'alice' }],
      cut: { sockets: 1, left: 0, untracked: [] },
    });
  }
});

t.test('a connection whose handshake is not over', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const talking = await talkOn(world, 'server', ':: 22');
  const hold = (script: string) => world.run('client', 'nft', ['-f', '-'], { input: script });
  await hold(
    'table inet hold { chain output { type filter hook output priority 0; tcp flags & (syn | ack) == ack drop; }; }',
  );
  for (const family of families) {
    const to = world.server[family];
    await world.host('client').knock(to, sshKnocks);
    const calling = world.start('client', process.execPath, ['-e', hearer, `22 ${to}`]);
    await calling.line(/^connected$/);
    t.match((await world.run('server', 'ss', ['-Htn', 'state', 'syn-recv'])).stdout, world.client[family]);
    t.match(await revoke(t, world, world.client[family], '--cut'), /; 1 connection cut$/);
    t.equal((await world.run('server', 'ss', ['-Htn', 'state', 'syn-recv'])).stdout, '');
  }
  await hold('flush ruleset');
  await delay(1500); // acknowledgments come again within a second
  t.notOk(talking.lines().some(line => line.startsWith('came')));
});

t.test('connections that are older than the guard', needs, async t => {
  const world = await createWorld(t, { clients });
  for (const port of [22, 8443]) await world.host('server').listen(port);
  const [client, other] = [world.host('client'), world.host('other')];
  const [cut, kept] = [[], []] as [
    Awaited<ReturnType<typeof client.open>>[],
    Awaited<ReturnType<typeof client.open>>[],
  ];
  for (const family of families) {
    const to = world.server[family];
    cut.push(await client.open(to, 22));
    kept.push(await client.open(to, 8443), await other.open(to, 22));
  }
  await load(world, { services: { ssh, admin } });
  const sessions = async () =>
    [...(await world.list()).matchAll(/(\S+) \. \d+ \. (\d+) timeout/g)]
      .map(([, from, port]) => `${from} ${port}`)
      .sort();
  t.equal((await sessions()).length, 6);
  for (const family of families)
    t.match(
      await revoke(t, world, 'ssh', world.client[family], '--cut'),
      /was not let in to ssh; 1 connection cut$/,
    );
  t.same(await sessions(), ['10.77.0.2 8443', '10.77.0.3 22', 'fd77::2 8443', 'fd77::3 22']);
  for (const session of cut) t.equal(await session.send('x'), 'dead');
  for (const session of kept) t.equal(await session.send('x'), 'alive');
});

/** Echoes datagrams from sockets that are connected to who sent the first one. */
const connectedEcho = `
  const dgram = require('node:dgram');
  for (const at of process.argv.slice(1)) {
    const [host, port] = at.split(' ');
    const socket = dgram.createSocket(host === '::' ? 'udp6' : 'udp4');
    let talking = false;
    socket.on('error', error => console.log(error.code + ' ' + port));
    socket.on('message', (message, from) => {
      if (talking) return socket.send(message);
      talking = true;
      socket.connect(from.port, from.address, () => socket.send(message));
    });
    socket.bind(port, host, () => console.log('listens ' + port));
  }`;

t.test('UDP: flows without a socket of their own, and sockets that are connected', needs, async t => {
  const ports = ['1194/udp', '1195-1196/udp'];
  const world = await loadedWorld(t, { services: { vpn: { ...ssh, ports } } }, { clients });
  await world.host('server').listen(1194, { protocol: 'udp' });
  const echoing = world.start('server', process.execPath, ['-e', connectedEcho, '0.0.0.0 1195', ':: 1196']);
  for (const port of [1195, 1196]) await echoing.line(new RegExp(`listens ${port}`));
  for (const family of families) {
    const [to, from] = [world.server[family], world.client[family]];
    const own = family === 'ipv4' ? 1195 : 1196;
    const ask = (port: number) => world.host('client').udp(to, port, 'question', { localPort: 5555 });
    await world.host('client').knock(to, sshKnocks);
    await world.host('other').knock(to, sshKnocks);
    for (const port of [1194, own]) t.equal(await ask(port), 'question');
    t.equal(await world.host('other').udp(to, 1194, 'question', { localPort: 5555 }), 'question');
    await revoke(t, world, from);
    for (const port of [1194, own]) t.equal(await ask(port), 'question', 'a flow outlives its opening');
    t.match(
      await revoke(t, world, from, '--cut'),
      [
        `${from} was not let in to vpn; 1 connection cut`,
        `${from} on 1194/udp: only its tracking was ended`,
      ].join('\n'),
    );
    await echoing.line(new RegExp(`^\\w+ ${own}$`));
    for (const port of [1194, own]) t.equal(await ask(port), 'silent');
    t.equal(
      await world.host('other').udp(to, 1194, 'question', { localPort: 5555 }),
      'question',
      'another client',
    );
  }
});

/** As Docker publishes: who is behind the server speaks with the server's address. */
const masquerade = `table inet leaving {
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr 10.78.0.0/24 oifname "eth0" masquerade
    ip6 saddr fd78::/64 oifname "eth0" masquerade
  }
}`;

for (const published of [8080, 80])
  t.test(`a connection that is forwarded to a container, from ${published} to 80`, needs, async t => {
    const config = { hook: 'prerouting', services: { web: { ...ssh, ports: [published, '53/udp'] }, admin } };
    const world = await loadedWorld(t, config, { clients, container: true });
    await world.publish(published, 80);
    await world.publish(53, 53, 'udp');
    await world.nft(masquerade);
    const talking = await talkOn(world, 'container', ':: 80');
    await world.host('container').listen(53, { protocol: 'udp' });
    await world.host('server').listen(8443);
    for (const family of families) {
      const [to, from] = [world.server[family], world.client[family]];
      await world.host('client').knock(to, [...sshKnocks, '7001/tcp', '7003/tcp', '7005/tcp']);
      await world.host('other').knock(to, sshKnocks);
      const hearing = await hear(world, to, published);
      const ask = (host: string) => world.host(host).udp(to, 53, 'question', { localPort: 5555 });
      for (const host of clients) t.equal(await ask(host), 'question');
      const kept = await world.host('client').open(to, 8443);
      await revoke(t, world, 'web', from);
      t.ok((await ticks(hearing)) > 0, 'it goes on');
      const container = world.addresses('container')[family];
      const lines = (await revoke(t, world, 'web', from, '--cut')).split('\n');
      t.equal(lines[0], `${from} was not let in to web; 2 connections cut`);
      t.same(
        lines.slice(1).toSorted(),
        [`${published}/tcp`, '53/udp']
          .map(
            port =>
              `${from} on ${port}, forwarded to ${container}: only its tracking was ended; ${container} may wait for it a while`,
          )
          .toSorted(),
      );
      await until(
        async () => await ticks(hearing),
        count => count === 0,
      );
      await talking.line(/^gone 80$/); // the client answers what it does not know
      t.equal(await ask('client'), 'silent');
      t.equal(await ask('other'), 'question');
      t.equal(await kept.send('x'), 'alive', 'another service');
      t.equal(await world.host('client').connect(to, published), 'silent');
      await world.host('client').knock(to, sshKnocks);
      t.equal(await world.host('client').connect(to, published), 'open', 'it may come again');
      t.equal(await ask('client'), 'question', 'from the same port, too');
      await hearing.stop();
      await revoke(t, world, '--all');
    }
  });

t.test('ports that DNAT leads to another port of this host', needs, async t => {
  for (const hook of ['input', 'prerouting']) {
    const guarded = hook === 'input' ? 22 : 2222;
    const world = await loadedWorld(t, { hook, services: { ssh: { ...ssh, ports: [guarded] } } });
    await world.nft(`table inet led {
  chain prerouting { type nat hook prerouting priority dstnat; tcp dport { 2222, 3333 } redirect to :22; }
}`);
    await world.host('server').listen(22);
    for (const family of families) {
      const to = world.server[family];
      await world.host('client').knock(to, sshKnocks);
      const [direct, guardedOne, public_] = [
        await world.host('client').open(to, 22),
        await world.host('client').open(to, 2222),
        await world.host('client').open(to, 3333),
      ];
      const expected = hook === 'input' ? ['dead', 'dead', 'dead'] : ['alive', 'dead', 'alive'];
      t.match(
        await revoke(t, world, world.client[family], '--cut'),
        hook === 'input' ? '; 3 connections cut' : '; 1 connection cut',
      );
      t.same(
        [await direct.send('x'), await guardedOne.send('x'), await public_.send('x')],
        expected,
        `${hook}, ${family}`,
      );
    }
  }
});

t.test('connections of the client that no guard has seen are not ours to cut', needs, async t => {
  const config = { policy: 'drop', services: { ssh }, public: [80] };
  const world = await createWorld(t, { container: true });
  await world.nft(
    masquerade.replaceAll('10.78', '10.77').replaceAll('fd78', 'fd77').replaceAll('eth0', 'behind0'),
  );
  for (const host of ['client', 'container']) await world.host(host).listen(22);
  await load(world, config);
  for (const family of families) {
    const through = await world.host('client').open(world.addresses('container')[family], 22);
    const outgoing = await world.host('server').open(world.client[family], 22);
    t.match(await revoke(t, world, world.client[family], '--cut'), /; no connection to cut$/);
    t.match(await revoke(t, world, '--all', '--cut'), /; no connection to cut$/);
    t.equal(await through.send('x'), 'alive', 'routed through this host, and masqueraded');
    t.equal(await outgoing.send('x'), 'alive', 'outgoing');
  }
});

t.test(
  'a connection that this host opened itself is not cut, though it comes from a guarded port',
  needs,
  async t => {
    const world = await loadedWorld(t, { services: { ssh: { ...ssh, ports: [22, '4000-4001/tcp'] } } });
    await world.host('client').listen(80);
    for (const family of families) {
      const outgoing = await world.host('server').open(world.client[family], 80, { localPort: 4000 });
      t.match(await revoke(t, world, world.client[family], '--cut'), /; no connection to cut$/);
      t.match(await revoke(t, world, '--all', '--cut'), /; no connection to cut$/);
      t.equal(await outgoing.send('x'), 'alive', family);
    }
  },
);

t.test('everybody does not include a client that comes in by an interface without guards', needs, async t => {
  const config = { interfaces: ['eth*'], services: { ssh } };
  const world = await loadedWorld(t, config, { container: true });
  await world.host('server').listen(22);
  for (const [family, inside] of [
    ['ipv4', '10.78.0.1'],
    ['ipv6', 'fd78::1'],
  ] as const) {
    await world.host('client').knock(world.server[family], sshKnocks);
    const mine = await world.host('client').open(world.server[family], 22);
    const theirs = await world.host('container').open(inside, 22);
    const env = { SSH_CONNECTION: `${world.addresses('container')[family]} 50000 ${inside} 22` };
    const { status, stdout } = await world.knockd(['revoke', '--all', '--cut'], { env });
    t.match({ status, stdout }, { status: 0, stdout: /; 1 connection cut\n$/ }, 'also from a login there');
    t.same([await mine.send('x'), await theirs.send('x')], ['dead', 'alive'], family);
    t.match(await revoke(t, world, world.addresses('container')[family], '--cut'), /; 1 connection cut$/);
    t.equal(await theirs.send('x'), 'dead', 'but who is named is meant');
  }
});

t.test(
  'everybody includes a client that is in, even if the way back leads to an interface without guards',
  needs,
  async t => {
    const world = await loadedWorld(t, { interfaces: ['eth0'], services: { ssh } });
    await world.host('server').listen(22);
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    const session = await world.host('client').open(world.server.ipv4, 22);
    const route = (verb: string) => ['route', verb, `${world.client.ipv4}/32`, 'dev', 'away'];
    for (const words of [
      ['link', 'add', 'away', 'type', 'veth', 'peer', 'name', 'far'],
      ['link', 'set', 'away', 'up'],
      route('add'),
    ])
      t.equal((await world.run('server', 'ip', words)).status, 0);
    t.match(await revoke(t, world, '--all', '--cut'), /; 1 connection cut$|^1 connection cut$/m);
    t.equal((await world.run('server', 'ip', route('del'))).status, 0);
    t.equal(await session.send('x'), 'dead');
  },
);

/** Sends ten datagrams a second to whoever sent the first one. */
const streamer = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.once('message', (_, from) => setInterval(() => socket.send('tick', from.port, from.address), 100));
  socket.bind(1194, () => console.log('listens'));`;
const viewer = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', message => console.log(String(message)));
  socket.bind(5555, () => socket.send('hello', 1194, process.argv[1]));`;

t.test('UDP that the program has begun again can be cut as soon as it pauses', needs, async t => {
  const world = await loadedWorld(t, { services: { vpn: { ...ssh, ports: ['1194/udp'] } } });
  const streaming = world.start('server', process.execPath, ['-e', streamer]);
  await streaming.line(/listens/);
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  const viewing = world.start('client', process.execPath, ['-e', viewer, world.server.ipv4]);
  await viewing.line(/tick/);
  const tracking = `${world.client.ipv4} on 1194/udp: only its tracking was ended; if a program here goes on`;
  t.match(await revoke(t, world, world.client.ipv4, '--cut'), tracking);
  t.ok((await ticks(viewing)) > 0, 'it goes on sending');
  streaming.signal('SIGSTOP');
  t.match(await revoke(t, world, '--all', '--cut'), tracking);
  t.equal(await world.host('client').udp(world.server.ipv4, 1194, 'x', { localPort: 5556 }), 'silent');
  t.match(await revoke(t, world, '--all', '--cut'), /; no connection to cut$/, 'nothing is left');
});

t.test('everybody means all clients that the configuration does not allow', needs, async t => {
  const world = await createWorld(t, { clients });
  for (const port of [22, 8443]) await world.host('server').listen(port);
  await load(world, { services: { ssh, admin }, allow: [world.addresses('other').ipv4, 'fd77::3'] });
  for (const family of families) {
    const to = world.server[family];
    const [client, other] = [world.host('client'), world.host('other')];
    await client.knock(to, [...sshKnocks, '7001/tcp', '7003/tcp', '7005/tcp']);
    const mine = [await client.open(to, 22), await client.open(to, 8443)];
    const kept = [await other.open(to, 22), await world.host('server').open(to, 22)];
    const lines = (await revoke(t, world, '--all', '--cut')).split('\n');
    const from = world.client[family];
    t.same(lines.toSorted(), [
      '2 connections cut',
      `revoked admin from ${from} (alice)`,
      `revoked ssh from ${from}`,
    ]);
    for (const session of mine) t.equal(await session.send('x'), 'dead');
    for (const session of kept) t.equal(await session.send('x'), 'alive');
    const address = world.addresses('other')[family];
    const named = await world.knockd(['revoke', 'ssh', address, '--cut']);
    t.match(named, {
      status: 0,
      stdout: /; 1 connection cut\n$/,
      stderr: `${address} still gets in: "allow" in the configuration names it`,
    });
    t.equal(await kept[0]?.send('x'), 'dead', 'but who is named is meant');
  }
});

t.test('one does not cut the connection that one is logged in over by chance', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh, admin } });
  await world.host('server').listen(22);
  const { ipv4 } = world.client;
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  const session = await world.host('client').open(world.server.ipv4, 22);
  const env = { SSH_CONNECTION: `${ipv4} 50000 ${world.server.ipv4} 22` };
  for (const words of [['--all'], ['ssh', '--all']]) {
    const refused = await world.knockd(['revoke', ...words, '--cut'], { env });
    t.same([refused.status, refused.stdout], [1, '']);
    t.match(
      refused.stderr,
      /connection of your own login, so nothing was changed; .*: knockd-nft revoke (ssh )?10\.77\.0\.2 --cut\n$/,
    );
    t.equal(await session.send('x'), 'alive');
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open', 'nothing was revoked');
  }
  t.equal((await world.knockd(['revoke', 'admin', '--all', '--cut'], { env })).status, 0, 'another service');
  t.equal((await world.knockd(['revoke', '--all'], { env })).status, 0, 'not cut');
  const named = await world.knockd(['revoke', ipv4, '--cut'], { env });
  t.match(named, { status: 0, stdout: /; 1 connection cut\n$/, stderr: '' });
  t.equal(await session.send('x'), 'dead');
});

t.test('nor if a redirection leads that connection to another port', needs, async t => {
  const world = await loadedWorld(t, { hook: 'prerouting', services: { ssh: { ...ssh, ports: [2222] } } });
  await world.nft(`table inet led {
  chain prerouting { type nat hook prerouting priority dstnat; tcp dport 2222 redirect to :22; }
}`);
  await world.host('server').listen(22);
  const { ipv4 } = world.client;
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  const env = { SSH_CONNECTION: `${ipv4} 50000 ${world.server.ipv4} 22` };
  const direct = await world.host('client').open(world.server.ipv4, 22);
  t.equal((await world.knockd(['revoke', '--all', '--cut'], { env })).status, 0, 'a login that no guard saw');
  t.equal(await direct.send('x'), 'alive');
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  const session = await world.host('client').open(world.server.ipv4, 2222);
  const refused = await world.knockd(['revoke', '--all', '--cut'], { env });
  t.match(refused, { status: 1, stdout: '', stderr: /connection of your own login, so nothing was changed/ });
  t.equal(await session.send('x'), 'alive');
});

t.test('thousands of connections, and a table full of others', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } }, { clients });
  await world.host('server').listen(22, { backlog: 4096 });
  await world.host('server').listen(9, { protocol: 'udp' });
  const to = world.server.ipv4;
  await world.host('client').knock(to, sshKnocks);
  const sessions = await Promise.all(Array.from({ length: 200 }, () => world.host('client').open(to, 22)));
  await world
    .host('other')
    .flood({ to, knocks: ['9/udp'], sources: { first: '198.18.0.0', count: 30_000 }, count: 30_000 });
  t.match(await revoke(t, world, world.client.ipv4, '--cut'), /; 200 connections cut$/);
  for (const session of sessions.slice(0, 5)) t.equal(await session.send('x'), 'dead');
});
