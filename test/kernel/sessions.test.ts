/**
 * Nobody is locked out: running TCP connections live through every load, on hosts that never tracked
 * connections before, while their ports stay closed to everything new.
 */
import t, { type Test } from 'tap';
import { load, until } from './loaded.ts';
import type { Running } from './process.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };

/** Each port has its sort of socket: IPv4, IPv6, and one for both that talks IPv4. */
const sorts = { ipv4: 22, ipv6: 23, mapped: 24 } as const;
const sequence = [10000, 2345, 3456, 1234];
const guarding = { services: { ssh: { ports: ['22-24/tcp'], sequence } } };
const idle = { services: { other: { ports: [99], sequence: [4001, 4003, 4005] } } };

/** Prints what it hears, answers `ping` with `pong`, and on SIGUSR2 says `ping` where its own side is to begin. */
const talker = `
  const net = require('node:net');
  const sockets = new Map();
  const side = process.argv[1];
  function talk(socket) {
    let rest = '';
    socket.on('error', () => {}).on('close', () => console.log('closed'));
    socket.setEncoding('utf8').on('data', data => {
      const lines = (rest + data).split('\\n');
      rest = lines.pop();
      for (const line of lines) {
        const [word, name] = line.split(' ');
        console.log(line);
        if (word === 'name') sockets.set(name, socket);
        if (word === 'ping') socket.write('pong ' + name + '\\n');
      }
    });
  }
  process.on('SIGUSR2', () => {
    for (const [name, socket] of sockets) if (name.endsWith(side)) socket.write('ping ' + name + '\\n');
  });
  setInterval(() => {}, 1e6);`;

const listener = `${talker}
  for (const [host, port] of [['0.0.0.0', 22], ['::', 23], ['::', 24]])
    net.createServer(talk).listen(port, host, () => console.log('listens ' + port));`;

const caller = `${talker}
  for (const target of process.argv.slice(2)) {
    const [name, host, port] = target.split(' ');
    const socket = net.connect(port, host, () => {
      sockets.set(name, socket);
      socket.write('name ' + name + '\\n');
      console.log('local ' + name + ' ' + socket.localPort);
    });
    talk(socket);
  }`;

const namesOf = (begins: string, group = '') => Object.keys(sorts).map(sort => `${group}${sort}-${begins}`);
const allNames = (group = '') => [...namesOf('listener', group), ...namesOf('caller', group)];

async function listenOn(world: World, host: string): Promise<Running> {
  const running = world.start(host, process.execPath, ['-e', listener, 'listener']);
  for (const port of [22, 23, 24]) await heard(running, `listens ${port}`);
  return running;
}

/** Six connections: two of each sort, in one of which the caller sends first, in the other the listener. */
async function call(
  world: World,
  from: string,
  to: string,
  listening: Running,
  group = '',
): Promise<Running> {
  const { ipv4, ipv6 } = world.addresses(to);
  const targets = allNames(group).map(name => {
    const sort = name.split('-').at(-2) as keyof typeof sorts;
    return `${name} ${sort === 'ipv6' ? ipv6 : ipv4} ${sorts[sort]}`;
  });
  const running = world.start(from, process.execPath, ['-e', caller, 'caller', ...targets]);
  for (const name of allNames(group)) await heard(listening, `name ${name}`);
  return running;
}

/** Waits until the program has printed that line, whenever. */
function heard(running: Running, line: string) {
  return until(
    async () => running.lines(),
    lines => lines.includes(line),
    10,
  );
}

async function sessionsLive(t: Test, calling: Running, listening: Running, group = ''): Promise<void> {
  for (const [first, second, side] of [
    [calling, listening, 'caller'],
    [listening, calling, 'listener'],
  ] as const) {
    first.signal('SIGUSR2');
    for (const name of namesOf(side, group)) {
      await heard(second, `ping ${name}`);
      await heard(first, `pong ${name}`);
      t.pass(`${name} lives: the ${side} was the first to speak`);
    }
  }
}

function localPort(calling: Running, name: string): number {
  return Number(
    calling
      .lines()
      .find(line => line.startsWith(`local ${name} `))
      ?.split(' ')[2],
  );
}

async function connected(t: Test) {
  const world = await createWorld(t);
  const listening = await listenOn(world, 'server');
  return { world, listening, calling: await call(world, 'client', 'server', listening) };
}

/** All three ports, each over its own sort: silent to a new connection, also from a port that a session has or had. */
async function closedToNew(t: Test, world: World, localPorts: readonly (number | undefined)[]) {
  for (const [index, [sort, port]] of Object.entries(sorts).entries()) {
    const to = sort === 'ipv6' ? world.server.ipv6 : world.server.ipv4;
    const sourcePort = localPorts[index];
    const packet = { protocol: 'tcp', to, port, ...(sourcePort && { sourcePort }) } as const;
    t.equal(
      await world.host('client').probe(packet),
      'none',
      `${sort}: closed to a SYN from ${sourcePort ?? 'elsewhere'}`,
    );
  }
}

t.test('the first load on a host that tracks no connections', needs, async t => {
  const { world, listening, calling } = await connected(t);
  world.write(guarding);
  const { stdout } = await world.knockd(['load']);
  t.match(stdout, /6 running connections kept/);
  await closedToNew(t, world, []);
  const ports = namesOf('caller').map(name => localPort(calling, name));
  await closedToNew(t, world, ports);
  await sessionsLive(t, calling, listening);
});

t.test('a swap that begins to guard the port', needs, async t => {
  const { world, listening, calling } = await connected(t);
  await load(world, idle);
  await load(world, { services: { ...idle.services, ...guarding.services } });
  await closedToNew(t, world, []);
  await sessionsLive(t, calling, listening);
});

t.test('a port that one more service begins to guard, in prerouting', needs, async t => {
  const { world, listening, calling } = await connected(t);
  await load(world, { ...idle, hook: 'prerouting' });
  await load(world, { ...guarding, hook: 'prerouting' });
  await closedToNew(t, world, []);
  await sessionsLive(t, calling, listening);
});

const accidents = [
  'flush ruleset',
  'flush chain inet knockd input',
  'flush table inet knockd',
  'delete table inet knockd',
  'flush map inet knockd ports',
  'flush chain inet knockd guard_ssh',
  'add table inet knockd { flags dormant; }',
];

for (const accident of accidents)
  t.test(`the load after "nft ${accident}", sessions that began in between too`, needs, async t => {
    const { world, listening, calling } = await connected(t);
    await load(world, guarding);
    await world.nft(accident);
    const later = await call(world, 'client', 'server', listening, 'later-');
    await load(world, guarding);
    await closedToNew(t, world, []);
    await sessionsLive(t, calling, listening);
    await sessionsLive(t, later, listening, 'later-');
    t.equal((await world.knockd(['diff'])).status, 0, 'all is as it should be');
  });

t.test('policy drop keeps connections in both directions', needs, async t => {
  const world = await createWorld(t);
  const here = await listenOn(world, 'server');
  const there = await listenOn(world, 'client');
  const incoming = await call(world, 'client', 'server', here);
  const outgoing = await call(world, 'server', 'client', there);
  await load(world, { ...idle, policy: 'drop' });
  await closedToNew(t, world, []);
  await sessionsLive(t, outgoing, there);
  await sessionsLive(t, incoming, here);
});

t.test('a change to policy drop keeps connections in both directions', needs, async t => {
  const world = await createWorld(t);
  const here = await listenOn(world, 'server');
  const there = await listenOn(world, 'client');
  const incoming = await call(world, 'client', 'server', here);
  const outgoing = await call(world, 'server', 'client', there);
  await load(world, idle);
  await load(world, { ...idle, policy: 'drop' });
  await sessionsLive(t, outgoing, there);
  await sessionsLive(t, incoming, here);
});

t.test('a table that gets another name', needs, async t => {
  const { world, listening, calling } = await connected(t);
  await load(world, guarding);
  await load(world, { ...guarding, table: 'door' });
  await closedToNew(t, world, []);
  await sessionsLive(t, calling, listening);
});

t.test('a connection whose handshake was not over when the port became guarded', needs, async t => {
  const world = await createWorld(t);
  const listening = await listenOn(world, 'server');
  const hold = (script: string) => world.run('client', 'nft', ['-f', '-'], { input: script });
  await hold(`table inet hold {
  chain output {
    type filter hook output priority 0
    tcp flags & (syn | ack) == ack drop
  }
}`);
  const { ipv4, ipv6 } = world.server;
  const targets = [`ipv4-caller ${ipv4} 22`, `ipv6-caller ${ipv6} 23`, `mapped-caller ${ipv4} 24`];
  const calling = world.start('client', process.execPath, ['-e', caller, 'caller', ...targets]);
  for (const name of namesOf('caller'))
    await until(
      async () => localPort(calling, name),
      port => port > 0,
    );
  const { stdout } = await world.run('server', 'ss', ['-Htn', 'state', 'syn-recv']);
  t.equal(stdout.trim().split('\n').length, 3, 'three half-open connections');
  await load(world, guarding);
  await closedToNew(t, world, []);
  await hold('flush ruleset');
  for (const name of namesOf('caller')) {
    await heard(listening, `name ${name}`);
    t.pass(`${name} was accepted`);
  }
  calling.signal('SIGUSR2');
  for (const name of namesOf('caller')) await heard(calling, `pong ${name}`);
});

t.test('a session that ended leaves no way in', needs, async t => {
  const { world, listening, calling } = await connected(t);
  await load(world, guarding);
  await sessionsLive(t, calling, listening);
  const ports = namesOf('caller').map(name => localPort(calling, name));
  await calling.stop();
  await until(
    async () => listening.lines().filter(line => line === 'closed').length,
    count => count === allNames().length,
  );
  await closedToNew(t, world, ports);
});

t.test('sessions are kept for the port that they use, and for no other', needs, async t => {
  const { world, calling } = await connected(t);
  await load(world, guarding);
  const sourcePort = localPort(calling, 'ipv4-caller');
  const ack = { protocol: 'tcp', to: world.server.ipv4, sourcePort, flags: ['ack'] } as const;
  t.equal(
    await world.host('client').probe({ ...ack, port: 23 }),
    'none',
    'dropped: no RST from the other port',
  );
  t.equal(await world.host('client').probe({ ...ack, port: 22, sourcePort: 4000 }), 'none');
});
