/** Notes that exist and cannot be read: no command acts as if there were none. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { createWorld, missing } from '../kernel/world.ts';
import { supervised } from '../supervisor/supervised.ts';
import { commands, done, foldersOf } from './commands.ts';
import { save, stateOf } from './state.ts';
import { cannotInject, type Fault, runFailing, runFaulty, runUnreadable, trace } from './strace.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();
t.jobs = 3;

/** A world in which `name` of commands.ts could be run. */
async function prepared(t: Test, name: string) {
  const world = await createWorld(t);
  const env = foldersOf(world);
  await commands('')[name]?.prepare(world, env);
  const rules = async () => stateOf(await save(world)).rules;
  return { world, env, rules };
}

t.test('a hold that cannot be read keeps load and user from changing anything', { skip }, async t => {
  const { world, env, rules } = await prepared(t, 'load of a changed file');
  const hold = join(env.RUNTIME_DIRECTORY, 'hold');
  writeFileSync(hold, JSON.stringify({ reason: 'trying', until: Date.now() + 3_600_000 }));
  const was = await rules();
  for (const words of [['load'], ['user', 'remove', 'ssh', 'bob']]) {
    const { status, stderr } = await runUnreadable(world, hold, words, env);
    t.equal(status, 1);
    t.match(stderr, /^knockd-nft: EIO: i\/o error, open '.*run\/hold'$/m);
    t.equal(await rules(), was, words.join(' '));
  }
});

t.test(
  'a supervisor that cannot see whether there is a hold changes nothing, and goes on',
  { skip },
  async t => {
    const config = (port: number) => ({ services: { ssh: { ports: [port], sequence: [7001, 7003, 7005] } } });
    const { world, environment: env, event, supervisor } = await supervised(t, config(22));
    const hold = join(env.RUNTIME_DIRECTORY ?? '', 'hold');
    const inject = ['-e', 'trace=statx', '-e', 'signal=none', '-e', 'inject=statx:error=EIO'];
    const tracer = world.start('server', 'strace', [
      '-f',
      '-P',
      hold,
      ...inject,
      '-p',
      String(supervisor.pid),
    ]);
    await tracer.line(/INJECTED/);
    world.write(config(80));
    await supervisor.line(/there is a hold that cannot be read/);
    t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
    await tracer.stop();
    await event('swapped');
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test(
  'a secret that cannot be read for a moment is read again, without a change of any file',
  { skip },
  async t => {
    const { world, event, supervisor } = await supervised(t, { services: {} });
    const secret = join(dirname(world.configFile), 'bob');
    writeFileSync(secret, 'b0'.repeat(32), { mode: 0o600 });
    const inject = ['-e', 'trace=openat', '-e', 'signal=none', '-e', 'inject=openat:error=EIO:when=1'];
    const pid = String(supervisor.pid);
    const tracer = world.start('server', 'strace', ['-f', '-P', secret, ...inject, '-p', pid]);
    await tracer.line(/ attached/);
    world.write({ services: { ssh: { ports: [22], tokens: { bob: { file: 'bob' } } } } });
    await supervisor.line(/cannot load .*\(EIO\).*; trying again/);
    await event('swapped');
    t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
    await tracer.stop();
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test('unload does not overlook a supervisor whose note cannot be read', { skip }, async t => {
  const {
    world,
    environment: env,
    supervisor,
  } = await supervised(t, { services: { ssh: { ports: [22], sequence: [7001, 7003, 7005] } } });
  const note = join(env.RUNTIME_DIRECTORY ?? '', 'supervisor.pid');
  const { status, stderr } = await runUnreadable(world, note, ['unload'], env);
  t.equal(status, 1);
  t.match(stderr, /^knockd-nft: EIO: i\/o error, open '.*supervisor\.pid'$/m);
  t.match(await world.list(), /tcp \. 22 : goto guard_ssh/);
  await supervisor.stop();
});

t.test(
  'a content that may be one that was not confirmed is not loaded; at boot the last good one is',
  { skip },
  async t => {
    const { world, env, rules } = await prepared(t, 'load of a changed file');
    const was = await rules();
    const note = join(env.STATE_DIRECTORY, 'unconfirmed');
    writeFileSync(note, '');
    const load = await runUnreadable(world, note, ['load'], env);
    t.equal(load.status, 78);
    t.match(load.stderr, /whether this content was confirmed cannot be read \(EIO: .*unconfirmed'\)/);
    t.equal(await rules(), was);
    await world.nft('flush ruleset');
    const boot = await runUnreadable(world, note, ['load', '--last-good'], env);
    t.equal(boot.status, 0, boot.stderr);
    t.equal(await rules(), was);
  },
);

t.test('a trial in place forgets no earlier content that was not confirmed', { skip }, async t => {
  const { world, env, rules } = await prepared(t, 'load of a changed file');
  const was = await rules();
  const note = join(env.STATE_DIRECTORY, 'unconfirmed');
  writeFileSync(note, `${'0'.repeat(64)}\n`);
  const { status, stderr } = await runUnreadable(world, note, ['try', '--for', '2s'], env);
  t.equal(status, 1);
  t.match(stderr, /^knockd-nft: EIO: .*unconfirmed'$/m);
  t.equal(await rules(), was);
  t.equal((await save(world)).files.get('state/unconfirmed')?.toString(), `${'0'.repeat(64)}\n`);
});

t.test('revoke revokes even if it cannot note that, and says so', { skip }, async t => {
  const { world, env } = await prepared(t, 'revoke');
  const note = join(env.RUNTIME_DIRECTORY, 'revoked');
  writeFileSync(note, '');
  const { status, stdout, stderr } = await runUnreadable(world, note, ['revoke', 'ssh', '10.1.0.1'], env);
  t.equal(status, 0);
  t.match(stdout, /revoked ssh from 10\.1\.0\.1/);
  t.match(stderr, /this cannot be noted \(EIO: .*revoked'\)/);
  t.same(stateOf(await save(world)).clients, []);
});

t.test('an undo lets in nobody while it cannot know who was revoked', { skip }, async t => {
  const { world, env } = await prepared(t, 'undo');
  const note = join(env.RUNTIME_DIRECTORY, 'revoked');
  await done(world, env, ['revoke', 'ssh', '10.1.0.1']);
  t.ok(existsSync(note));
  await world.nft('flush ruleset'); // so that the table has to be made
  const { status, stderr } = await runUnreadable(world, note, ['undo'], env);
  t.equal(status, 0, stderr);
  t.same(stateOf(await save(world)).clients, []);
});

t.test('an undo that cannot end its hold says that the former rules are back', { skip }, async t => {
  const { world, env, rules } = await prepared(t, 'undo');
  const hold = join(env.RUNTIME_DIRECTORY, 'hold');
  const result = await runFailing(world, hold, '/^(unlink|rmdir):error=EROFS', ['undo'], env);
  t.ok(result.met);
  t.equal(result.status, 1);
  t.match(result.stderr, /^knockd-nft: the former rules are back, but the hold cannot be removed \(EROFS: /);
  const was = await rules();
  await done(world, env, ['undo']);
  t.equal(await rules(), was);
  t.notOk(existsSync(hold));
});

t.test('init --force that cannot replace the file leaves no copy of it', { skip }, async t => {
  const { world, env } = await prepared(t, 'init --force');
  const before = await save(world);
  const fault: Fault = { name: 'rename', number: 1, errno: 'ENOSPC' };
  const result = await runFaulty(world, fault, ['init', '--yes', '--force'], env);
  t.ok(result.met);
  t.equal(result.status, 1);
  t.match(result.stderr, /cannot be written \(ENOSPC\)/);
  t.same([...(await save(world)).files], [...before.files]);
});

t.test('an added user who is not in force is reported, with what the client needs', { skip }, async t => {
  const words = ['user', 'add', 'ssh', 'dave'];
  const { world, env } = await prepared(t, 'user add');
  const { calls } = await trace(world, words, env);
  await done(world, env, ['user', 'remove', 'ssh', 'dave']);
  const written = calls.findIndex(
    ({ name, about }) => name.startsWith('rename') && about.includes(basename(world.configFile)),
  );
  t.not(written, -1);
  const load = calls.slice(written).find(({ name }) => name === 'sendmsg');
  const fault: Fault = { name: 'sendmsg', number: load?.number ?? 0, errno: 'ENOMEM' };
  const { status, stdout, stderr } = await runFaulty(world, fault, words, env);
  t.equal(status, 1);
  t.match(stdout, /added: dave of ssh/);
  t.match(stdout, /"secret":/, 'the secret is printed');
  t.match(stderr, /NOT IN FORCE YET: .*\(ENOMEM\).*; to put it in force: knockd-nft --config \S+ load/);
  t.notMatch(stderr, /nothing was changed/);
  t.equal((await done(world, env, ['load'])).includes('dave'), true);
});

t.test(
  'an added user is reported with the secret even if the file cannot be read again',
  { skip },
  async t => {
    const words = ['user', 'add', 'ssh', 'dave', '--host', '192.0.2.1'];
    const { world, env } = await prepared(t, 'user add');
    let written = 0;
    for (let number = 1; ; number++) {
      const { met, status, stdout, stderr } = await runUnreadable(
        world,
        world.configFile,
        words,
        env,
        number,
      );
      if (!met) break;
      if (!readFileSync(world.configFile, 'utf8').includes('dave')) continue;
      written++;
      t.match(stdout, /added: dave of ssh/);
      t.match(stdout, /"secret":/);
      t.equal(status, 1, 'with 78 nothing would be touched');
      t.match(stderr, /NOT IN FORCE YET: .*EIO/);
      await done(world, env, ['user', 'remove', 'ssh', 'dave']);
    }
    t.ok(written > 0);
  },
);

t.test('a file that fails when it is closed was read and written all the same', { skip }, async t => {
  const words = ['user', 'add', 'ssh', 'dave', '--host', '192.0.2.1'];
  const { world, env } = await prepared(t, 'user add');
  const result = await runFailing(world, world.configFile, 'close:error=EIO', words, env);
  t.ok(result.met);
  t.equal(result.status, 0, result.stderr);
  t.match(result.stdout, /added: dave of ssh.*\nin force now/);
  t.match(result.stdout, /"secret":/);
});

t.test('a lock that fails when it is released was held all the same', { skip }, async t => {
  for (const [command, words, locked] of [
    ['confirm', ['confirm'], 'trial'],
    ['revoke', ['revoke', 'ssh', '10.1.0.1'], ''],
  ] as const) {
    const { world, env } = await prepared(t, command);
    const path = join(env.RUNTIME_DIRECTORY, locked);
    const result = await runFailing(world, path, 'close:error=EIO', words, env);
    t.ok(result.met, command);
    t.match(result, { status: 0, stderr: '' }, command);
  }
});

t.test('confirm that cannot forget what was not confirmed replaces no file yet', { skip }, async t => {
  const { world, env } = await prepared(t, 'confirm');
  const note = join(env.STATE_DIRECTORY, 'unconfirmed');
  writeFileSync(note, '');
  const was = readFileSync(world.configFile, 'utf8');
  const candidate = readFileSync(`${world.configFile}.new`, 'utf8');
  const { status, stderr } = await runUnreadable(world, note, ['confirm'], env);
  t.equal(status, 1);
  t.match(stderr, /^knockd-nft: EIO: .*unconfirmed'$/m);
  t.equal(readFileSync(world.configFile, 'utf8'), was, 'an undo brings back all');
  await done(world, env, ['confirm']);
  t.equal(readFileSync(world.configFile, 'utf8'), candidate);
});

t.test(
  'revoke --cut that cannot look for connections says that the openings are revoked',
  { skip },
  async t => {
    const words = ['revoke', '--all', '--cut'];
    const { world, env } = await prepared(t, 'revoke --all --cut');
    const { calls } = await trace(world, words, env);
    await done(world, env, ['grant', 'ssh', '10.1.0.1', '--for', '10h']);
    const revoked = calls.findIndex(({ name, lasts }) => name === 'sendmsg' && lasts);
    const look = calls
      .slice(revoked)
      .find(({ about }) => /^openat.*"\/proc\/self\/net\/netlink"/.test(about));
    const fault: Fault = { name: 'openat', number: look?.number ?? 0, errno: 'EMFILE' };
    const { met, status, stderr } = await runFaulty(world, fault, words, env);
    t.ok(met);
    t.equal(status, 1);
    t.match(stderr, /^knockd-nft: the openings are revoked, but nothing could be cut: EMFILE: .*netlink'$/m);
    t.same(stateOf(await save(world)).clients, []);
  },
);

t.test('unload --force that fails brings back the hold of before', { skip }, async t => {
  const {
    world,
    environment: env,
    event,
    supervisor,
  } = await supervised(t, { services: { ssh: { ports: [22], sequence: [7001, 7003, 7005] } } });
  await done(world, { RUNTIME_DIRECTORY: env.RUNTIME_DIRECTORY ?? '', STATE_DIRECTORY: '' }, [
    'unload',
    '--force',
  ]);
  await event('held');
  const fault: Fault = { name: 'sendmsg', number: 1, errno: 'ENOMEM' };
  const { status, stderr } = await runFaulty(world, fault, ['unload', '--force'], env);
  t.equal(status, 1, stderr);
  t.ok(existsSync(join(env.RUNTIME_DIRECTORY ?? '', 'hold')), 'it stays unloaded');
  await supervisor.stop();
});
