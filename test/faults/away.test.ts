/** A configuration on a file system of another machine, which hangs, fails, or takes its time. */
import { existsSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { createWorld } from '../kernel/world.ts';
import { knocks, ssh, until } from '../supervisor/supervised.ts';
import { cannotMount, folderAway, waitsForAway } from './away.ts';
import { foldersOf } from './commands.ts';

const skip = cannotMount();
/** Half of the time that a load waits for a file, in milliseconds. */
const SOON = 30_000;
t.jobs = 4; // most of it is waiting
const bob = 'b0'.repeat(32);
const guarding = (port: number, more: object = {}) => ({
  services: { ssh: { ...ssh, ports: [port], openFor: '10m', tokens: { bob: { file: 'bob' } } } },
  ...more,
});

async function supervisedAway(t: Test, delay = 0) {
  const world = await createWorld(t);
  const env = { ...foldersOf(world) };
  const away = await folderAway(world, delay);
  away.write(`${bob}\n`, 'bob');
  away.write(guarding(22));
  const supervisor = away.startKnockd(['run'], env);
  await supervisor.line(/"event":"loaded"/);
  const guards = async (port: number) => (await world.list()).includes(`tcp . ${port} : goto guard_ssh`);
  const troubled = async () => existsSync(join(env.RUNTIME_DIRECTORY, 'trouble'));
  return { world, env, away, supervisor, guards, troubled };
}

t.test('a change that another machine makes is followed', { skip }, async t => {
  const { away, supervisor, guards } = await supervisedAway(t);
  away.write(guarding(2222));
  await supervisor.line(/"event":"swapped"/);
  t.ok(await guards(2222));
  t.equal((await supervisor.stop()).status, 0);
});

t.test(
  'while its file hangs, a supervisor puts the table back, reports openings, and changes nothing; then it follows',
  { skip },
  async t => {
    const { world, away, supervisor, guards, troubled } = await supervisedAway(t);
    away.hang();
    away.write(guarding(2222));
    await supervisor.line(/does not answer/);
    await until(troubled, Boolean);
    await world.host('client').knock(world.server.ipv4, knocks);
    await supervisor.line(/"event":"opened"/);
    for (let time = 0; time < 2; time++) {
      await world.nft('flush ruleset');
      await supervisor.line(/"clients":1,"event":"restored"/);
      t.ok(await guards(22));
    }
    away.goOn();
    await supervisor.line(/"event":"swapped"/);
    t.ok(await guards(2222));
    t.notOk(await until(troubled, it => !it), 'nothing is said to be wrong any more');
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test(
  'a supervisor whose state is on another machine warns of that; while it stands still, the kernel takes knocks',
  { skip },
  async t => {
    const world = await createWorld(t);
    const away = await folderAway(world);
    const env = { ...foldersOf(world), STATE_DIRECTORY: away.folder('state') };
    world.write({ services: { ssh: { ...ssh, openFor: '10m' } } });
    const program = [process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'];
    const supervisor = away.start(program, env);
    await supervisor.line(/here\/state is on a file system that may hang/);
    await supervisor.line(/"event":"loaded"/);
    await world.host('server').listen(22);
    away.hang();
    world.write({ services: { ssh: { ...ssh, openFor: '20m' } } });
    await until(async () => waitsForAway(supervisor.pid), Boolean);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
    await world.host('client').knock(world.server.ipv4, knocks);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
    away.goOn();
    await supervisor.line(/"event":"swapped"/);
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test('a supervisor whose file hangs can be stopped', { skip }, async t => {
  const { away, supervisor } = await supervisedAway(t);
  away.hang();
  await supervisor.line(/does not answer/);
  supervisor.signal('SIGTERM');
  await supervisor.line(/"event":"stopped"/);
  away.goOn(); // the kernel ends no process that waits for the file system
  t.equal((await supervisor.ended).status, 0);
});

t.test(
  'a supervisor that starts while its file hangs loads the last good one, and the file once that answers',
  { skip },
  async t => {
    const { world, env, away, supervisor, guards } = await supervisedAway(t);
    await supervisor.stop();
    await world.nft('flush ruleset');
    away.hang();
    away.write(guarding(2222));
    const next = away.startKnockd(['run'], env);
    await next.line(/the last good configuration is in force instead/);
    t.ok(await guards(22));
    away.goOn();
    await next.line(/"event":"swapped"/);
    t.ok(await guards(2222));
    t.equal((await next.stop()).status, 0);
  },
);

t.test(
  'a file and a secret that cannot be read for a while change nothing, and count again afterwards',
  { skip },
  async t => {
    const { world, away, supervisor, guards, troubled } = await supervisedAway(t);
    away.fail();
    await supervisor.line(/cannot load .*\bE[A-Z]+\b.*; trying again/);
    await until(troubled, Boolean);
    await world.nft('flush ruleset');
    await supervisor.line(/"event":"restored"/);
    t.ok(await guards(22));
    away.write(guarding(2222));
    away.comeBack();
    await supervisor.line(/"event":"swapped"/);
    t.ok(await guards(2222));
    t.notOk(await until(troubled, it => !it), 'nothing is said to be wrong any more');
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test(
  'a file system that takes its time is waited for, and keeps no table from coming back',
  { skip },
  async t => {
    const { world, away, supervisor, guards } = await supervisedAway(t, 100);
    away.write(guarding(2222));
    await supervisor.line(/"event":"swapped"/);
    await world.nft('flush ruleset');
    await supervisor.line(/"event":"restored"/);
    t.ok(await guards(2222));
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test(
  'at a first start, without a last good file, a file system that takes its time is waited for in the end',
  { skip },
  async t => {
    const world = await createWorld(t);
    const away = await folderAway(world, 100);
    const users = ['alice', 'bob', 'carol', 'dora', 'erik'];
    for (const [index, user] of users.entries()) away.write(`a${index}`.repeat(32), user);
    const tokens = Object.fromEntries(users.map(user => [user, { file: user }]));
    away.write({ services: { ssh: { ...ssh, tokens } } });
    const supervisor = away.startKnockd(['run'], foldersOf(world));
    await supervisor.line(/"event":"loaded"/);
    t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test(
  'a command whose file hangs says so and changes nothing; status tells the rest, a boot loads the last good file',
  { skip },
  async t => {
    const { world, env, away, supervisor } = await supervisedAway(t);
    await supervisor.stop();
    away.hang();
    away.write(guarding(2222));
    const before = await world.list();
    const run = (...words: string[]) => away.startKnockd(words, env).ended;
    const [load, diff, added, status] = await Promise.all([
      run('load'),
      run('diff'),
      run('user', 'add', 'ssh', 'carol'),
      run('status'),
    ]);
    for (const { status, stderr } of [load, diff, added]) {
      t.equal(status, 78);
      t.match(stderr, /^\/.*knockd-nft\.json: its file system does not answer$/m);
    }
    t.equal(status.status, 0);
    t.match(status.stdout, /ssh/);
    t.match(status.stderr, /its file system does not answer/);
    t.equal(withoutTimes(await world.list()), withoutTimes(before));
    await world.nft('flush ruleset');
    const boot = await run('load', '--last-good');
    t.equal(boot.status, 0, boot.stderr);
    t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
    away.goOn();
    t.equal((await run('load')).status, 0);
    t.match(await world.list(), /tcp \. 2222 : goto guard_ssh/);
  },
);

/** A supervisor of a file on this machine, which names a secret on the other one. */
async function secretAway(t: Test) {
  const world = await createWorld(t);
  const env = { ...foldersOf(world) };
  const away = await folderAway(world);
  const secret = (name: string) => join(dirname(away.configFile), name);
  away.write(`${bob}\n`, 'bob');
  const withUser = (port: number, user: string) =>
    guarding(port, {
      services: { ssh: { ...ssh, ports: [port], tokens: { [user]: { file: secret(user) } } } },
    });
  const without = (port: number) => ({ services: { ssh: { ...ssh, ports: [port] } } });
  const command = [process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile];
  const start = (...words: string[]) => away.start([...command, ...words], env);
  const guards = async (port: number) => (await world.list()).includes(`tcp . ${port} : goto guard_ssh`);
  return { world, away, secret, withUser, without, start, guards };
}

t.test(
  'a secret that hangs keeps no file on this machine from being loaded that does not name it any more',
  { skip },
  async t => {
    const { world, away, withUser, without, start, guards } = await secretAway(t);
    world.write(withUser(22, 'bob'));
    const supervisor = start('run');
    await supervisor.line(/"event":"loaded"/);
    away.hang();
    await supervisor.line(/bob: its file system does not answer/);
    world.write(without(2222));
    await supervisor.line(/"event":"swapped"/);
    t.ok(await guards(2222));
    away.goOn();
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test('a secret that hangs when it is first named keeps nothing from being reported', { skip }, async t => {
  const { world, away, withUser, without, start, guards } = await secretAway(t);
  world.write(without(22));
  const supervisor = start('run');
  await supervisor.line(/"event":"loaded"/);
  away.hang();
  world.write(withUser(2222, 'bob'));
  await until(async () => waitsForAway(supervisor.pid), Boolean);
  await world.host('client').knock(world.server.ipv4, knocks);
  await supervisor.line(/"event":"opened"/);
  t.ok(await guards(22));
  for (const change of ['flush ruleset', 'insert rule inet knockd input accept']) {
    await world.nft(change);
    await supervisor.line(/"clients":1,"event":"restored"/, SOON);
    t.ok(await guards(22), `the table does not wait for it either: ${change}`);
  }
  away.goOn();
  await supervisor.line(/"event":"swapped"/);
  t.ok(await guards(2222));
  t.equal((await supervisor.stop()).status, 0);
});

t.test(
  'a supervisor that starts while a secret hangs loads the last good file, and the file once that answers',
  { skip },
  async t => {
    const { world, away, withUser, start, guards } = await secretAway(t);
    world.write(withUser(22, 'bob'));
    const first = start('run');
    await first.line(/"event":"loaded"/);
    await first.stop();
    await world.nft('flush ruleset');
    away.hang();
    world.write(withUser(2222, 'bob'));
    const next = start('run');
    await next.line(/the last good configuration is in force instead/, SOON);
    t.ok(await guards(22));
    away.goOn();
    await next.line(/"event":"swapped"/);
    t.ok(await guards(2222));
    t.equal((await next.stop()).status, 0);
  },
);

t.test('a supervisor starts also if a link on this machine leads to a file that hangs', { skip }, async t => {
  const { world, away, without, start, guards } = await secretAway(t);
  away.write(without(22));
  symlinkSync(away.configFile, world.configFile);
  const first = start('run');
  await first.line(/"event":"loaded"/);
  await first.stop();
  await world.nft('flush ruleset');
  away.hang();
  away.write(without(2222));
  const next = start('run');
  await next.line(/the last good configuration is in force instead/, SOON);
  t.ok(await guards(22));
  away.goOn();
  await next.line(/"event":"swapped"/);
  t.ok(await guards(2222));
  t.equal((await next.stop()).status, 0);
});

t.test('beside a supervisor, too, the last good file is loaded while the file hangs', { skip }, async t => {
  const { env, away, supervisor, guards } = await supervisedAway(t);
  away.hang();
  await supervisor.line(/does not answer/);
  const load = await away.startKnockd(['load', '--last-good'], env).ended;
  t.equal(load.status, 0, load.stderr);
  t.ok(await guards(22));
  away.goOn();
  t.equal((await supervisor.stop()).status, 0);
});

t.test('a command whose secret hangs says so and changes nothing', { skip }, async t => {
  const { world, away, secret, withUser, without, start, guards } = await secretAway(t);
  world.write(without(22));
  t.equal((await start('load').ended).status, 0);
  world.write(withUser(2222, 'bob'));
  away.hang();
  const [load, check, doctor, words] = await Promise.all([
    start('load').ended,
    start('check').ended,
    start('doctor').ended,
    start('complete', 'services').ended,
  ]);
  for (const { status, stderr } of [load, check, doctor]) {
    t.equal(status, 78);
    t.match(stderr, `${secret('bob')}: its file system does not answer`);
  }
  t.match(words, { status: 0, stdout: '', stderr: '' });
  t.ok(await guards(22));
  away.goOn();
  t.equal((await start('load').ended).status, 0);
  t.ok(await guards(2222));
});

t.test('Ctrl-C ends a command whose file hangs', { skip }, async t => {
  const { world, env, away, supervisor } = await supervisedAway(t);
  await supervisor.stop();
  away.hang();
  const command = away.startKnockd(['check'], env);
  const children = async () => (await world.run('server', 'pgrep', ['-P', String(command.pid)])).stdout;
  await until(children, Boolean);
  t.equal((await command.stop('SIGINT')).status, 128 + 2);
  away.goOn();
});

/** Of elements, which go on. */
const withoutTimes = (rules: string) =>
  rules.replace(/(expires|elements = \{[^}]*\}|packets \d+ bytes \d+)/g, '');
