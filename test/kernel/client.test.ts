/** `knockd-nft knock`: what leaves the client, and which doors it opens. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { families, loadedWorld, patient, serviceOf, ssh, status, until } from './loaded.ts';
import { JITLESS, lacking, type Result } from './process.ts';
import { createWorld, missing, type RunOptions, type World } from './world.ts';

/** Knocking mostly waits, so several at a time. */
t.jobs = 4;

const needs = { skip: missing('namespaces', 'knockd'), buffered: true };
const needsNft = { skip: missing('namespaces', 'knockd', 'nft'), buffered: true };
const words = ssh.sequence.map(String);

function folder(t: Pick<Test, 'teardown'>): string {
  const path = mkdtempSync(join(tmpdir(), 'knockd-nft-client-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

/** `knockd-nft knock` on the client. */
function knock(world: World, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return world.knockd(['knock', ...args], { host: 'client', config: false, ...options });
}

/** The same where these lines are /etc/hosts. */
function knockByName(t: Test, world: World, lines: string, args: readonly string[]): Promise<Result> {
  const hosts = join(folder(t), 'hosts');
  writeFileSync(hosts, lines);
  chmodSync(hosts, 0o644);
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  const command = [process.execPath, resolve('dist/knockd-nft.cjs'), 'knock', ...args];
  return world.run('client', 'sh', ['-c', script, hosts, ...command]);
}

/** The environment of somebody with this file of hosts. */
function userWith(
  t: Test,
  hosts: object | string,
  mode = 0o600,
): { env: Record<string, string>; path: string } {
  const home = folder(t);
  mkdirSync(join(home, 'knockd-nft'));
  const path = join(home, 'knockd-nft/hosts.json');
  writeFileSync(path, typeof hosts === 'string' ? hosts : JSON.stringify(hosts));
  chmodSync(path, mode);
  return { env: { XDG_CONFIG_HOME: home }, path };
}

t.test('knocks open a service over IPv4 and IPv6, and nothing more is printed', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  for (const family of families) {
    const to = world.server[family];
    t.match(await knock(world, [to, ...words.slice(0, 3)]), { status: 0, stderr: '' });
    t.equal(await world.host('client').connect(to, 22), 'silent', 'not after three of four');
    const { status, stdout, stderr } = await knock(world, [to, ...words]);
    t.equal(status, 0, stderr);
    t.match(stdout, new RegExp(`^knocked on ${to} in \\d+\\.\\d s\n$`));
    t.equal(stderr, '');
    t.equal(await world.host('client').connect(to, 22), 'open');
  }
});

t.test('a name with both families is knocked on in both, with SYNs and datagrams', { ...needs }, async t => {
  const sequence = ['7001/udp', 7003, '7002/udp', '7005/udp', 7004];
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, sequence } } });
  const { ipv4, ipv6 } = world.server;
  const lines = `${ipv6} bastion\n${ipv4} bastion\n10.77.0.99 bastion\nfd77::99 bastion\n`;
  const { status, stdout, stderr } = await knockByName(t, world, lines, [
    ...['bastion', '7001:udp', '7003:tcp', '7002/udp', '7005/udp', '7004', '--json'],
  ]);
  t.equal(status, 0, stderr);
  const { seconds, ...knocked } = JSON.parse(stdout);
  t.equal(typeof seconds, 'number');
  t.same(
    { ...knocked, addresses: knocked.addresses.toSorted() },
    { addresses: [ipv4, ipv6], open: null, rounds: 1 },
  );
  t.same((await serviceOf(world, 'ssh')).clients, [world.client.ipv4, world.client.ipv6].sort());
});

t.test('a family that leads nowhere does not matter, unless both do', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const lines = `${world.server.ipv6} bastion\n${world.server.ipv4} bastion\n`;
  await world.run('client', 'ip', ['-6', 'addr', 'flush', 'dev', 'eth0']);
  await world.run('client', 'ip', ['-6', 'route', 'flush', 'dev', 'eth0']);
  const { status, stdout, stderr } = await knockByName(t, world, lines, ['bastion', ...words, '--json']);
  t.equal(status, 0, stderr);
  t.same(JSON.parse(stdout).addresses, [world.server.ipv4]);
  t.equal(stderr, '');
  t.same((await serviceOf(world, 'ssh')).clients, [world.client.ipv4]);
  await world.run('client', 'ip', ['route', 'flush', 'dev', 'eth0']);
  for (const more of [[], ['--wait', '22']]) {
    const failed = await knockByName(t, world, lines, ['bastion', ...words, ...more]);
    t.equal(failed.status, 1);
    t.match(
      failed.stderr,
      /^knockd-nft: nothing could be sent to .* \(E[A-Z]+\): check the network of this machine\n$/,
    );
    t.notMatch(failed.stderr, /10000/);
  }
});

/** The answer of a knock port to a knock. */
const answers = {
  'answers with a reset': '',
  'drops it': 'drop',
  'answers with ICMP': 'reject with icmpx type admin-prohibited',
};

for (const [how, rule] of Object.entries(answers))
  t.test(`one packet for each knock, and no more, if the port ${how}`, { ...needsNft }, async t => {
    const world = await createWorld(t);
    const verdict = rule && `meta l4proto { tcp, udp } ${rule}`;
    await world.nft(`table inet knocks { chain input { type filter hook input priority 0\n${verdict}\n}\n}`);
    await world.host('server').listen(2345); // it accepts if it may, and finds no connection
    await world.run('client', 'ip', ['neigh', 'flush', 'dev', 'eth0']); // the first one has to wait for the address
    const seen = await Promise.all(
      families.map(async family => {
        const captured = await world.host('server').capture({ from: world.client[family] });
        const knocked = await knock(world, [world.server[family], ...words, '7001/udp', '7001/tcp']);
        t.equal(knocked.status, 0, knocked.stderr);
        return (await captured.end(6000))
          .filter(({ protocol, flags }) => protocol === 'udp' || flags.includes('syn'))
          .map(({ protocol, port, flags }) => [`${port}/${protocol}`, ...flags]);
      }),
    );
    const once = [...words.map(word => [`${word}/tcp`, 'syn']), ['7001/udp'], ['7001/tcp', 'syn']];
    t.same(seen, [once, once], 'Linux would send a SYN again after 1 s');
  });

t.test('--wait says when a port opened, also one that was open before', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const to = world.server.ipv4;
  for (const _ of [1, 2]) {
    const { status, stdout, stderr } = await knock(world, [to, ...words, '--wait', '22']);
    t.equal(status, 0, stderr);
    t.match(stdout, new RegExp(`^${to} port 22 is open after \\d+\\.\\d s\n$`));
    t.equal(stderr, '');
  }
  t.equal((await serviceOf(world, 'ssh')).opened, 2, 'it was knocked both times');
  const json = await knock(world, [world.server.ipv6, ...words, '--wait', '22', '--json']);
  t.match(JSON.parse(json.stdout), {
    addresses: [world.server.ipv6],
    open: { address: world.server.ipv6, port: 22 },
    rounds: 1,
  });
});

t.test('--wait goes on to the second address of a name', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const { ipv4 } = world.server;
  const lines = `10.77.0.3 bastion\n${ipv4} bastion\n`; // the system sorts them, as our own ends in 2
  const args = ['bastion', ...words, '--wait', '22', '--json'];
  const { status, stdout, stderr } = await knockByName(t, world, lines, args);
  t.equal(status, 0, stderr);
  t.match(JSON.parse(stdout), { open: { address: ipv4, port: 22 }, rounds: 2 });
  t.equal(stderr, `bastion port 22 is still closed; knocking again on ${ipv4}\n`);
});

t.test('processes that knock at the same time do so one after the other', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const to = world.server.ipv4;
  const all = [[], [], ['--wait', '22'], ['--wait', '22']].map(more => knock(world, [to, ...words, ...more]));
  for (const { status, stderr } of await Promise.all(all))
    t.same({ status, stderr }, { status: 0, stderr: '' });
  const { wrongKnocks } = await status(world);
  t.equal(wrongKnocks, 0);
  t.ok((await serviceOf(world, 'ssh')).opened >= 2);
});

t.test('--wait fails after --timeout, and says what to check', { ...needs }, async t => {
  const world = await loadedWorld(t, {
    services: { ssh, web: { ...ssh, ports: [80], closed: 'reject', sequence: [1, 5, 3] } },
  });
  await world.host('server').listen(22);
  for (const [port, look] of [
    ['22', 'it does not answer'],
    ['80', 'it refuses connections'],
  ]) {
    const args = [world.server.ipv4, '54321', '43217', `--wait=${port}`, '--timeout', '2s'];
    const { status, stdout, stderr } = await knock(world, args);
    t.equal(status, 1);
    t.equal(stdout, '');
    t.match(stderr, `port ${port} is still closed; knocking again`);
    t.match(
      stderr,
      `port ${port} is still closed after 2 s (${look}): check that the knocks are those of the server`,
    );
    t.notMatch(stderr, /54321|43217/);
  }
});

t.test('a knock that is lost is made up for: with --wait it knocks again', { ...needsNft }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  await world.nft(`table inet lossy {
  set seen { type inet_service; flags dynamic; size 16; }
  chain input {
    type filter hook input priority -300
    tcp dport { 2345, 1234 } tcp flags syn tcp dport != @seen add @seen { tcp dport } drop
  }
}`);
  const { status, stdout, stderr } = await knock(world, [
    world.server.ipv4,
    ...words,
    '--wait',
    '22',
    '--json',
  ]);
  t.equal(status, 0, stderr);
  t.match(stderr, /^10\.77\.0\.1 port 22 is still closed; knocking again\n/);
  t.equal(JSON.parse(stdout).rounds, 2);
  t.match(await serviceOf(world, 'ssh'), { opened: 1 });
});

t.test('the usual gap stands 100 ms of jitter', { ...needs }, async t => {
  const clients = ['client', 'second', 'third'];
  const sequence = [7001, 7011, 7005, 7015, 7003, 7013];
  const ssh = { ports: [22], sequence, ...patient };
  const world = await loadedWorld(t, { services: { ssh } }, { clients: [...clients, 'router'] });
  const to = world.server.ipv4;
  const router = world.host('router');
  await router.connect(to, 9); // it has started
  const relayed = router.relay({ to, count: 3 * 3 * sequence.length, delay: 200 }); // each up to 100 ms early or late
  for (const name of clients)
    await world.run(name, 'ip', ['route', 'add', to, 'via', world.addresses('router').ipv4]);
  const all = (gap: readonly string[]) =>
    Promise.all(
      clients.map(host =>
        world.knockd(['knock', to, ...sequence.map(String), ...gap], { host, config: false }),
      ),
    );
  for (const round of [1, 2]) {
    await all([]);
    await until(
      async () => (await serviceOf(world, 'ssh')).opened,
      opened => opened === 3 * round,
    );
  }
  await all(['--gap', '10ms']);
  await relayed; // all went through the router
  t.ok((await serviceOf(world, 'ssh')).opened < 9, 'and it does bring them in another order');
});

t.test('a host of the file needs no more than its name', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const to = world.server.ipv4;
  const { env } = userWith(t, { bastion: { host: to, knocks: ssh.sequence, gap: '120ms', port: 22 } });
  t.match(await knock(world, ['bastion', '--wait'], { env }), {
    status: 0,
    stdout: /^10\.77\.0\.1 port 22 is open after \d\.\d s\n$/,
    stderr: '',
  });
  t.match(await knock(world, [to], { env }), { status: 0 }, 'nor than where it goes');
  t.equal((await serviceOf(world, 'ssh')).opened, 2);
  t.match(await knock(world, [to, '1', '2'], { env }), { status: 0 });
  t.equal((await status(world)).wrongKnocks, 0);
  t.equal((await serviceOf(world, 'ssh')).opened, 2, 'knocks on the command line come before the file');
});

t.test('a file of hosts that others could read is refused, and so is a wrong one', { ...needs }, async t => {
  const world = await createWorld(t);
  const hosts = { bastion: { host: world.server.ipv4, knocks: [54321, 43217] } };
  const readable = userWith(t, hosts, 0o644);
  const refused = await knock(world, ['bastion'], readable);
  t.equal(refused.status, 78);
  t.match(refused.stderr, `chmod 600 ${readable.path}`);
  const wrong = userWith(t, '{\n  "bastion": { "knock": [54321, 43217] }\n}');
  const told = await knock(world, ['bastion'], wrong);
  t.equal(told.status, 78);
  t.match(told.stderr, `${wrong.path}:2:16: bastion: unknown key "knock", the nearest is "knocks"`);
  for (const { stdout, stderr } of [refused, told]) t.notMatch(stdout + stderr, /54321|43217/);
  t.match(
    await knock(world, [world.server.ipv4, '1', '2'], wrong),
    { status: 0 },
    'who writes the knocks needs no file',
  );
});

t.test('a command line that nobody can mean is 64, and shows no knock', { ...needs }, async t => {
  const world = await createWorld(t);
  const { env, path } = userWith(t, { bastion: { knocks: [1, 2] } });
  for (const [args, message] of [
    [
      ['elsewhere'],
      `no knocks are known for elsewhere; write them at the end of the command, or into ${path}`,
    ],
    [['a b', '1'], '"a b" is no host; expected a name or an address'],
    [
      ['10.77.0.1', '1', '543210'],
      'knock 2 is no port; expected a number from 1 to 65535 (TCP), "N/tcp" or "N/udp"',
    ],
    [['10.77.0.1', '1', '--gap', '2h'], '--gap 2h is too long: expected seconds as a number, or'],
    [['10.77.0.1', '1', '--gap', 'x'], '--gap x is no duration: expected'],
    [['10.77.0.1', '1', '--timeout', '0.5'], '--timeout 0.5 is too short: expected'],
    [['10.77.0.1', '1', '--timeout', '30d'], '--timeout 30d is too long: expected'],
    [['10.77.0.1', '1', '--wait', '53/udp'], '--wait 53/udp is no TCP port; expected'],
    [['bastion', '--wait'], '--wait: no port is known for bastion'],
  ] as const) {
    const { status, stdout, stderr } = await knock(world, args, { env });
    t.equal(status, 64, args.join(' '));
    t.equal(stdout, '');
    t.ok(stderr.startsWith(`knockd-nft: ${message}`), stderr);
    t.notMatch(stderr, /543210/);
  }
});

t.test('on a client the one file is enough', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const program = join(folder(t), 'knockd-nft.cjs');
  copyFileSync('dist/client.cjs', program);
  const run = (...args: readonly string[]) =>
    world.run('client', process.execPath, [...JITLESS, program, ...args]);
  t.match(await run('knock', world.server.ipv4, ...words, '--wait', '22'), { status: 0, stderr: '' });
  t.match(await run('knock', world.server.ipv4, '0'), { status: 64, stderr: /knock 1 is no port/ });
  t.match(await run('proxy', world.server.ipv4, '23'), { status: 1, stderr: /it refuses connections/ });
});

t.test(
  "Debian's knock opens a service, too",
  { skip: needs.skip || lacking('knock'), buffered: true },
  async t => {
    const udp = { ...ssh, ports: [53], sequence: ['7001/udp', '7003/udp', 7002] };
    const world = await loadedWorld(t, { services: { ssh, udp } });
    for (const family of families) {
      const to = world.server[family];
      for (const args of [words, ['7001:udp', '7003:udp', '7002:tcp']]) {
        const { status, stderr } = await world.run('client', 'knock', ['-d', '50', to, ...args]);
        t.equal(status, 0, stderr);
      }
    }
    const both = [world.client.ipv4, world.client.ipv6].sort();
    t.match(await serviceOf(world, 'ssh'), { clients: both });
    t.match(await serviceOf(world, 'udp'), { clients: both });
  },
);
