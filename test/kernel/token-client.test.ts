/** The client's side of one-time tokens, against a server that `knockd-nft load` made. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { windowAt } from '../../src/token/derive.ts';
import { families, serviceOf, until } from './loaded.ts';
import { lacking } from './process.ts';
import { cannotSshd, startSshd } from './sshd.ts';
import { SECRETS, type TokenWorld, tokens, tokenWorld } from './token-world.ts';
import { missing, type RunOptions } from './world.ts';

t.jobs = 4;

const needs = { skip: missing('namespaces', 'knockd', 'nft'), buffered: true };
const SECRET = SECRETS.alice;
const REALM = 'test';

interface Guarding {
  readonly openFor?: string;
  /** TCP ports where tokens count in the data of connections. */
  readonly payload?: readonly string[];
}

/** A server that hides port 22 from all but two users with tokens. */
async function guarded(
  t: Pick<Test, 'teardown'>,
  { payload = [], ...more }: Guarding = {},
): Promise<TokenWorld> {
  const world = await tokenWorld(t);
  await world.loadFresh({
    services: { ssh: { ...tokens.services.ssh, ...more } },
    token: { realm: REALM, payload },
  });
  return world;
}

/** The same, with a program that echoes behind the door. */
async function echoing(t: Pick<Test, 'teardown'>, guarding?: Guarding): Promise<TokenWorld> {
  const world = await guarded(t, guarding);
  await world.host('server').listen(22);
  return world;
}

/** For NODE_OPTIONS: the clock is this number of seconds behind. */
function clockBefore(seconds: number): string {
  const script = `const Right = Date;
globalThis.Date = class extends Right {
  constructor(...words) { super(...(words.length ? words : [Right.now() + ${seconds * 1000}])); }
  static now() { return Right.now() + ${seconds * 1000}; }
};`;
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}

/** A user of the client, with `bastion` in the file of hosts, and what the commands give. */
function user(t: Pick<Test, 'teardown'>, world: TokenWorld, entry: object = {}, more: object = {}) {
  const home = mkdtempSync(join(tmpdir(), 'knockd-nft-tokens-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  mkdirSync(join(home, 'knockd-nft'));
  const token = { secret: SECRET, realm: REALM, service: 'ssh', ...entry };
  const hosts = { bastion: { host: world.server.ipv4, token, port: 22, ...more } };
  writeFileSync(join(home, 'knockd-nft/hosts.json'), JSON.stringify(hosts), { mode: 0o600 });
  const env = { XDG_CONFIG_HOME: home, XDG_STATE_HOME: home };
  const run = (args: readonly string[], options: RunOptions = {}) =>
    world.knockd(args, {
      host: 'client',
      config: false,
      timeout: 150_000,
      ...options,
      env: { ...options.env, ...env },
    });
  return {
    home,
    run,
    proxy: (...args: readonly string[]) => run(['proxy', 'bastion', '22', ...args], { input: 'hello\n' }),
    /** The state file's content. */
    used: () => {
      const [name = ''] = readdirSync(join(home, 'knockd-nft')).filter(file => file.startsWith('token-'));
      return JSON.parse(readFileSync(join(home, 'knockd-nft', name), 'utf8'));
    },
  };
}

const through = { status: 0, stdout: 'hello\n', stderr: '' };

t.test('a token opens, and no other is sent while that lasts', { ...needs }, async t => {
  for (const family of families) {
    const world = await echoing(t);
    const { proxy, run, used } = user(t, world, {}, { host: world.server[family] });
    for (let login = 0; login < 5; login++) t.same(await proxy(), through);
    t.match(await run(['knock', 'bastion', '--wait']), { status: 0, stderr: '' });
    t.match(await world.counted(), { opened: 1, accepted: 6, wrong: 0 });
    t.match(used(), { window: Number, way: 'udp', address: world.server[family] });
    const { home } = user(t, world);
    t.notMatch(JSON.stringify([used(), readdirSync(home)]), SECRET);
  }
});

t.test('knock sends one token to one address, and says to which', { ...needs }, async t => {
  const world = await echoing(t);
  const { run, proxy } = user(t, world);
  const { status, stdout } = await run(['knock', 'bastion']);
  t.equal(status, 0);
  t.match(stdout, /^knocked on 10\.77\.0\.1 in \d\.\d s\n$/);
  await until(world.counted, ({ opened }) => opened === 1);
  t.same(await proxy(), through);
  t.match(await world.counted(), { opened: 1 });
});

for (const clock of [70, -70])
  t.test(`a clock that is ${clock} s off does no harm`, { ...needs }, async t => {
    const world = await echoing(t);
    const env = { NODE_OPTIONS: clockBefore(clock) };
    const { run } = user(t, world);
    t.same(await run(['proxy', 'bastion', '22'], { input: 'hello\n', env }), through);
    t.match(await world.counted(), { opened: 1, wrong: 0, repeated: 0 });
  });

t.test(
  'after a token that was in vain comes the next window’s, and at most two ahead',
  { ...needs },
  async t => {
    const world = await echoing(t);
    const { proxy, used } = user(t, world, { service: 'other' });
    const { status, stderr } = await proxy('--timeout', '6s');
    t.equal(status, 1);
    t.match(stderr, /^knockd-nft: bastion is still closed; sent another token to 10\.77\.0\.1\n/);
    t.match(stderr, /\nknockd-nft: bastion: its tokens are used up; waiting until \d\d:\d\d:\d\d\n/);
    t.match(
      stderr,
      /is still closed after 6 s \(its tokens are used up until \d\d:\d\d:\d\d\): check that secret/,
    );
    t.notMatch(stderr, SECRET.slice(0, 8));
    const { wrong } = await world.counted();
    t.ok(wrong === 3 || wrong === 4, `${wrong}: a minute may have begun`);
    t.equal(used().window - windowAt(Date.now()) <= 2, true);
  },
);

/** All openings are over. */
async function shut(world: TokenWorld): Promise<void> {
  const { status, stderr } = await world.knockd(['revoke', 'ssh', '--all'], { env: world.env });
  if (status !== 0) throw new Error(stderr);
}

/** So that what is said of a minute is so for some seconds. */
async function atStartOfMinute(): Promise<void> {
  const left = 60_000 - (Date.now() % 60_000);
  if (left < 10_000) await delay(left);
}

t.test(
  'a client that has used up its tokens waits for the next window, whatever --timeout says',
  { ...needs },
  async t => {
    const world = await echoing(t);
    const { home, proxy, run, used } = user(t, world);
    await atStartOfMinute();
    await run(['knock', 'bastion']);
    const [name = ''] = readdirSync(join(home, 'knockd-nft')).filter(file => file.startsWith('token-'));
    writeFileSync(join(home, 'knockd-nft', name), JSON.stringify({ window: windowAt(Date.now()) + 2 }));
    await shut(world);
    const { status, stdout, stderr } = await proxy('--timeout', '2s');
    t.same({ status, stdout }, { status: 0, stdout: 'hello\n' });
    t.match(stderr, /^knockd-nft: bastion: its tokens are used up; waiting until \d\d:\d\d:00\n$/);
    t.equal(used().window, windowAt(Date.now()) + 2);
  },
);

t.test('ten logins at once take one token', { ...needs }, async t => {
  const world = await echoing(t);
  const { proxy } = user(t, world);
  for (const done of await Promise.all(Array.from({ length: 10 }, () => proxy()))) t.same(done, through);
  t.match(await world.counted(), { opened: 1, accepted: 10, wrong: 0 });
});

t.test(
  'ten ssh logins at once get in with one token',
  { ...needs, skip: needs.skip || cannotSshd() },
  async t => {
    const world = await guarded(t);
    const sshd = await startSshd(t, world);
    const { home } = user(t, world);
    const program = `'${process.execPath}' '${resolve('dist/knockd-nft.cjs')}'`;
    const config = sshd.sshConfig(
      `Host bastion\n  HostName ${world.server.ipv4}\n  ProxyCommand ${program} proxy %h %p`,
    );
    const env = { XDG_CONFIG_HOME: home, XDG_STATE_HOME: home };
    const login = () => world.run('client', 'ssh', ['-F', config, 'bastion', 'echo in'], { env });
    for (const done of await Promise.all(Array.from({ length: 10 }, login)))
      t.same(done, { status: 0, stdout: 'in\n', stderr: '' });
    t.match(await world.counted(), { opened: 1, accepted: 10 });
  },
);

t.test('an address that is dead costs a window of its own, and the next time none', { ...needs }, async t => {
  const world = await echoing(t, { openFor: '1s' });
  const { home, used } = user(t, world, {}, { host: 'bastion' });
  const hosts = join(home, 'hosts');
  writeFileSync(hosts, `10.77.0.3 bastion\n${world.server.ipv4} bastion\n`); // the system sorts them
  const login = () =>
    world.run(
      'client',
      'sh',
      [
        '-c',
        `mount --bind '${hosts}' /etc/hosts && exec "$@"`,
        'sh',
        process.execPath,
        resolve('dist/knockd-nft.cjs'),
        'proxy',
        'bastion',
        '22',
      ],
      { input: 'hello\n', env: { XDG_CONFIG_HOME: home, XDG_STATE_HOME: home } },
    );
  const { status, stdout, stderr } = await login();
  t.same({ status, stdout }, { status: 0, stdout: 'hello\n' });
  t.equal(stderr, 'knockd-nft: bastion is still closed; sent another token to 10.77.0.1\n');
  t.match(used(), { address: world.server.ipv4 });
  await until(
    async () => (await serviceOf(world, 'ssh')).clients,
    clients => clients.length === 0,
  );
  t.match(await login(), { ...through, stderr: '' });
  t.match(await world.counted(), { opened: 2 });
});

t.test('if no UDP passes, a token goes in the data of a connection', { ...needs }, async t => {
  const world = await echoing(t, { payload: ['80/tcp'] });
  await world.nft(
    'table inet network { chain c { type filter hook prerouting priority -500; meta l4proto udp drop; }; }',
  );
  await world.host('server').listen(80);
  const { proxy, used } = user(t, world, { payload: [80] });
  t.match(await proxy(), { status: 0, stdout: 'hello\n', stderr: /sent another token to 10\.77\.0\.1\n$/ });
  t.match(await world.counted(), { opened: 1 });
  t.match(used(), { way: 'payload' });
  await shut(world);
  t.same(await proxy(), through, 'and the next time at once');
});

t.test('a state that cannot be written is reported, and keeps nobody out', { ...needs }, async t => {
  const world = await echoing(t);
  const { home } = user(t, world);
  const env = { XDG_CONFIG_HOME: home, XDG_STATE_HOME: '/dev/null' };
  const { status, stderr } = await world.knockd(['proxy', 'bastion', '22'], {
    host: 'client',
    config: false,
    env,
  });
  t.equal(status, 0);
  t.match(
    stderr,
    /^knockd-nft: which tokens are used cannot be written to \/dev\/null\/knockd-nft\/token-\w+\.json \(E/,
  );
});

t.test('nothing can be sent: told, and the token is not lost', { ...needs }, async t => {
  const world = await echoing(t);
  const { proxy, used } = user(t, world);
  await world.run('client', 'ip', ['route', 'add', 'unreachable', `${world.server.ipv4}/32`]);
  t.match(await proxy(), { status: 1, stderr: /no token could be sent to 10\.77\.0\.1: check the network/ });
  t.ok(used().window <= windowAt(Date.now()), 'one window, not three');
});

for (const shell of [
  ['bash', 'docs/clients/knock.bash'],
  ['dash', 'docs/clients/knock.sh'],
] as const)
  t.test(
    `the script for ${shell[0]} opens a port`,
    { ...needs, skip: needs.skip || lacking(shell[0], 'nc', 'sha256sum') },
    async t => {
      const world = await echoing(t);
      const { home } = user(t, world);
      const file = join(home, 'secret');
      writeFileSync(file, SECRET, { mode: 0o600 });
      for (const [index, family] of families.entries()) {
        const args = [shell[1], world.server[family], REALM, 'ssh', file, '62201', String(index)];
        t.match(await world.run('client', shell[0], args), { status: 0, stderr: '' });
        await until(world.counted, ({ opened }) => opened === index + 1);
        t.equal(await world.host('client').connect(world.server[family], 22), 'open');
      }
    },
  );
