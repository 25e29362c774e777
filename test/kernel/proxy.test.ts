/** `knockd-nft proxy`: what goes through it, how it ends, and when it knocks. What ssh makes of it: ssh.test.ts. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { families, knocking, loadedWorld, serviceOf, ssh, status, until } from './loaded.ts';
import type { Running } from './process.ts';
import { createWorld, missing, type RunOptions, type World } from './world.ts';

t.jobs = 4;

const needs = { skip: missing('namespaces', 'knockd'), buffered: true };
const words = ssh.sequence.map(String);
const program = resolve('dist/client.cjs');

function folder(t: Pick<Test, 'teardown'>): string {
  const path = mkdtempSync(join(tmpdir(), 'knockd-nft-proxy-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

function proxy(world: World, args: readonly string[], options: RunOptions = {}) {
  return world.knockd(['proxy', ...args], { host: 'client', config: false, ...options });
}

/** The same where these lines are /etc/hosts, and `hello` is the input. */
function proxyByName(t: Pick<Test, 'teardown'>, world: World, lines: string, args: readonly string[]) {
  const hosts = join(folder(t), 'hosts');
  writeFileSync(hosts, lines);
  const script = `mount --bind '${hosts}' /etc/hosts && exec "$0" "$@"`;
  const command = [process.execPath, program, 'proxy', ...args];
  return world.run('client', 'sh', ['-c', script, ...command], { input: 'hello\n' });
}

/** The same from a shell, as $proxy, with a new folder as $0. */
function shell(t: Test, world: World, script: string) {
  const command = `exec '${process.execPath}' '${program}' proxy ${world.server.ipv4}`;
  return world.run('client', 'sh', ['-c', script.replaceAll('$proxy', command), folder(t)]);
}

/** A TCP server of a few lines, which name each connection `socket`. They may print. */
async function serve(world: World, port: number, lines: string): Promise<Running> {
  const script = `require('net').createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', error => console.log(error.code));
    ${lines}
  }).listen(${port}, '::', () => console.log('listening'));`;
  const running = world.start('server', process.execPath, ['-e', script]);
  await running.line(/^listening$/);
  return running;
}

/** Counts what comes, and says so at its end. */
const sink = `let bytes = 0;
    socket.on('data', data => { bytes += data.length; }).on('end', () => console.log('got', bytes));`;

t.test('it connects without knocks if it can, and prints nothing', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(80);
  for (const family of families)
    t.same(await proxy(world, [world.server[family], '80', ...words], { input: 'there and back\n' }), {
      status: 0,
      stdout: 'there and back\n',
      stderr: '',
    });
  t.match(await status(world), { knocking: [], services: { ssh: { opened: 0 } } });
});

for (const closed of ['drop', 'reject', 'prohibited'] as const)
  t.test(`it knocks if the port shows "${closed}", and prints nothing`, { ...needs }, async t => {
    const world = await loadedWorld(t, { services: { ssh }, closed });
    await world.host('server').listen(22);
    for (const family of families)
      t.same(await proxy(world, [world.server[family], '22', ...words], { input: 'there and back\n' }), {
        status: 0,
        stdout: 'there and back\n',
        stderr: '',
      });
    t.match(await serviceOf(world, 'ssh'), { opened: 2 });
  });

t.test('it makes no other connection than the one it hands over', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, singleUse: true } } });
  const listener = await world.host('server').listen(22);
  for (const count of [1, 2, 3]) {
    const { status, stdout } = await proxy(world, [world.server.ipv4, '22', ...words], { input: 'once' });
    t.same({ status, stdout }, { status: 0, stdout: 'once' });
    t.equal(await listener.arrived(), count);
    t.match(await serviceOf(world, 'ssh'), { clients: [], opened: count, accepted: count });
  }
});

t.test('for a name with both families it takes the one that gets there', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const { ipv4, ipv6 } = world.server;
  const lines = `${ipv6} bastion\n${ipv4} bastion\n`;
  const through = () => proxyByName(t, world, lines, ['bastion', '22', ...words]);
  const server = world.host('server');
  const only = await server.listen(22, { address: '0.0.0.0' });
  t.same(await through(), { status: 0, stdout: 'hello\n', stderr: '' }, 'nobody listens on IPv6');
  await only.close();
  await server.listen(22, { address: '::' });
  await world.run('client', 'ip', ['-6', 'route', 'replace', `${ipv6}/128`, 'via', 'fd77::99']); // nobody is there
  t.same(await through(), { status: 0, stdout: 'hello\n', stderr: '' }, 'IPv6 is a hole');
  await world.run('client', 'ip', ['-6', 'route', 'replace', 'unreachable', `${ipv6}/128`]);
  t.same(await through(), { status: 0, stdout: 'hello\n', stderr: '' }, 'IPv6 leads nowhere');
  await world.run('client', 'ip', ['-6', 'route', 'del', 'unreachable', `${ipv6}/128`]);
  await world.run('client', 'ip', ['route', 'add', 'blackhole', ipv4]);
  t.same(await through(), { status: 0, stdout: 'hello\n', stderr: '' }, 'IPv4 leads nowhere');
  t.same((await serviceOf(world, 'ssh')).clients, [world.client.ipv4, world.client.ipv6].sort());
});

t.test('if the first address of a family is dead it takes the second', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const { ipv4, ipv6 } = world.server;
  // the system sorts addresses of a family by how much of them is like our own, which ends in 2
  for (const [lines, to] of [
    [`10.77.0.3 bastion\n${ipv4} bastion\n`, ipv4], // nobody has it
    [`10.77.0.2 bastion\n${ipv4} bastion\n`, ipv4], // refuses
    [`fd77::3 bastion\n${ipv6} bastion\n`, ipv6],
    [`fd77::3 bastion\n10.77.0.3 bastion\n${ipv4} bastion\n`, ipv4],
  ] as const) {
    await world.nft('flush set inet knockd ssh_clients_ipv4; flush set inet knockd ssh_clients_ipv6');
    const { status, stdout, stderr } = await proxyByName(t, world, lines, ['bastion', '22', ...words]);
    t.same({ status, stdout }, { status: 0, stdout: 'hello\n' }, lines);
    t.match(stderr, `knockd-nft: bastion port 22 is still closed; knocking again on ${to}\n`);
  }
});

t.test('all addresses are tried within --timeout', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  await world.addAddress('server', '10.77.0.200/24'); // less like our own than the others
  const dead = [3, 4, 5, 6, 7].map(last => `10.77.0.${last} bastion\n`).join('');
  const args = ['bastion', '22', ...words, '--gap', '50ms', '--timeout', '6s'];
  const lines = `${dead}10.77.0.200 bastion\n`;
  t.match(await proxyByName(t, world, lines, args), { status: 0, stdout: 'hello\n' });
  const failed = await proxyByName(t, world, dead, args);
  t.match(failed, { status: 1, stderr: /bastion port 22 is still closed after 6 s \(/ });
});

t.test('ten at once to a closed door take one knock', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const all = Array.from({ length: 10 }, () =>
    proxy(world, [world.server.ipv4, '22', ...words], { input: 'once' }),
  );
  for (const done of await Promise.all(all)) t.same(done, { status: 0, stdout: 'once', stderr: '' });
  t.match(await serviceOf(world, 'ssh'), { opened: 1, accepted: 10 });
  t.equal((await status(world)).wrongKnocks, 0);
});

t.test('if an opening is for one connection, five logins at once need five knocks', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, singleUse: true } } });
  await world.host('server').listen(22);
  const all = Array.from({ length: 5 }, () =>
    proxy(world, [world.server.ipv4, '22', ...words], { input: 'once' }),
  );
  for (const done of await Promise.all(all)) t.same(done, { status: 0, stdout: 'once', stderr: '' });
  t.match(await serviceOf(world, 'ssh'), { clients: [], opened: 5, accepted: 5 });
  t.equal((await status(world)).wrongKnocks, 0);
});

t.test('a process that is killed while it knocks keeps nobody out', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const to = world.server.ipv4;
  const command = [program, 'knock', to, ...words, '--gap', '60s'];
  const first = world.start('client', process.execPath, command);
  await until(
    () => knocking(world),
    ([one]) => one === `${world.client.ipv4} ssh 1/4`,
  );
  const waiting = await proxy(world, [to, '22', ...words, '--timeout', '2s']);
  t.match(waiting.stderr, /still closed after 2 s \(other logins are still knocking\)/);
  const second = proxy(world, [to, '22', ...words], { input: 'once' });
  first.signal('SIGKILL');
  t.same(await second, { status: 0, stdout: 'once', stderr: '' });
});

t.test('a port that stays closed is 1 within --timeout, with a message', { ...needs }, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const to = world.server.ipv4;
  for (const [args, message] of [
    [
      [to, '22', '54321', '1', '--timeout', '2s'],
      /port 22 is still closed after 2 s \(it does not answer\): check that/,
    ],
    [
      [to, '22', '--timeout', '1s'],
      /is still closed after 1 s \(it does not answer\): no knocks are known for 10\.77\.0\.1; write/,
    ],
    [[to, '23', '--timeout', '9s'], /port 23 is closed \(it refuses connections\): no knocks are known for/],
    [['nowhere.invalid', '22', '1'], /no address is known for nowhere\.invalid|cannot be looked up now/],
  ] as const) {
    const { status, stdout, stderr } = await proxy(world, args);
    t.equal(status, 1, args.join(' '));
    t.equal(stdout, '', 'nothing but the stream goes to stdout');
    t.match(stderr, message);
    t.notMatch(stderr, /54321/);
  }
  for (const args of [[to], [to, 'ssh'], [to, '0'], [to, '22/udp'], [to, '22', 'x'], ['a b', '22']])
    t.match(await proxy(world, args), { status: 64, stdout: '' }, args.join(' '));
});

t.test('the end of stdin is passed on, and what comes afterwards still comes', { ...needs }, async t => {
  const world = await createWorld(t);
  const lines = `${sink} socket.on('end', () => setTimeout(() => socket.end('the answer'), 300));`;
  const server = await serve(world, 9000, lines);
  const input = 'x'.repeat(300_000);
  t.same(await proxy(world, [world.server.ipv4, '9000'], { input }), {
    status: 0,
    stdout: 'the answer',
    stderr: '',
  });
  await server.line(/^got 300000$/);
  for (const stdin of ['</dev/null', '<&-']) {
    const { stdout, stderr } = await shell(t, world, `( $proxy 9000 ${stdin} ); echo " $?"`);
    t.same({ stdout, stderr }, { stdout: 'the answer 0\n', stderr: '' }, stdin);
    await server.line(/^got 0$/);
  }
});

t.test("the server's end is passed on, and what is sent afterwards still goes", { ...needs }, async t => {
  const world = await createWorld(t);
  const server = await serve(world, 9000, `${sink} socket.end('all I have to say');`);
  // the reader's end comes before the writer goes on: else both would wait for each other
  const script = `mkfifo "$0/in"
$proxy 9000 <"$0/in" | { exec 3>"$0/in"; cat; echo .; echo later >&3; }`;
  const { status, stdout, stderr } = await shell(t, world, script);
  t.same({ status, stdout, stderr }, { status: 0, stdout: 'all I have to say.\n', stderr: '' });
  await server.line(/^got 6$/);
});

t.test('a connection that breaks is 1', { ...needs }, async t => {
  const world = await createWorld(t);
  await serve(world, 9000, `socket.write('half a', () => setTimeout(() => socket.resetAndDestroy(), 100));`);
  const script = `sleep 5 | { ( $proxy 9000 ); echo " $?"; }`;
  const { stdout, stderr } = await shell(t, world, script);
  t.equal(stdout, 'half a 1\n');
  t.equal(stderr, 'knockd-nft: the connection broke (ECONNRESET): connect again\n');
});

t.test('a reader that reads no more ends it quietly', { ...needs }, async t => {
  const world = await createWorld(t);
  await serve(
    world,
    9000,
    `socket.write(Buffer.alloc(1 << 20)); setInterval(() => socket.write('more'), 20);`,
  );
  const script = `sleep 5 | { ( $proxy 9000 ); echo "ended with $?" >&2; } | head -c 5 | wc -c`;
  const { stdout, stderr } = await shell(t, world, script);
  t.equal(stdout.trim(), '5');
  t.equal(stderr, 'ended with 0\n');
});

t.test('its memory does not grow with the data that waits', { ...needs }, async t => {
  const world = await createWorld(t);
  const size = 200 * 1024 * 1024;
  const large = join(folder(t), 'large');
  writeFileSync(large, '');
  truncateSync(large, size);
  const server = await serve(
    world,
    9000,
    `${sink} socket.once('data', () => { socket.pause(); setTimeout(() => socket.resume(), 1000); });
    socket.on('end', () => {
      const chunk = Buffer.alloc(1 << 20);
      for (let count = 0; count < 200; count++) socket.write(chunk);
      socket.end();
    });`,
  );
  // looked at while the last of it waits: more than fits into a pipe
  const last = 1 << 20;
  const script = `mkfifo "$0/out"
$proxy 9000 <"${large}" >"$0/out" &
{ sleep 2; head -c ${size - last} | wc -c; grep VmHWM /proc/$!/status; wc -c; } <"$0/out"
wait $!; echo "status $?"`;
  const { stdout, stderr } = await shell(t, world, script);
  t.equal(stderr, '');
  const [, most = ''] = /^VmHWM:\s+(\d+) kB$/m.exec(stdout) ?? [];
  t.ok(Number(most) < 150_000, `${most} kB`);
  t.match(stdout, new RegExp(`^${size - last}\n[^]*\n${last}\nstatus 0\n$`));
  await server.line(new RegExp(`^got ${size}$`));
});
