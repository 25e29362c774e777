/** Notes that exist and cannot be read: no command acts as if there were none. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { createWorld, missing } from '../kernel/world.ts';
import { supervised } from '../supervisor/supervised.ts';
import { commands, done, foldersOf } from './commands.ts';
import { save, stateOf } from './state.ts';
import { cannotInject, type Fault, runFaulty, runUnreadable, trace } from './strace.ts';

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

t.test('unload does not take a supervisor whose note cannot be read for none', { skip }, async t => {
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

t.test(
  'a user who was added and is not in force is told so, with what the client needs',
  { skip },
  async t => {
    const words = ['user', 'add', 'ssh', 'dave'];
    const { world, env } = await prepared(t, 'user add');
    const { calls } = await trace(world, words, env);
    await done(world, env, ['user', 'remove', 'ssh', 'dave']);
    const written = calls.findIndex(
      ({ name, about }) => name.startsWith('rename') && about.includes(basename(world.configFile)),
    );
    t.not(written, -1);
    const load = calls.slice(written).find(({ name }) => name === 'sendmsg');
    const fault: Fault = { name: 'sendmsg', number: load?.number ?? 0, about: '', errno: 'ENOMEM' };
    const { status, stdout, stderr } = await runFaulty(world, fault, words, env);
    t.equal(status, 1);
    t.match(stdout, /added: dave of ssh/);
    t.match(stdout, /"secret":/, 'the secret is printed');
    t.match(stderr, /NOT IN FORCE YET: .*\(ENOMEM\).*; to put it in force: knockd-nft --config \S+ load/);
    t.notMatch(stderr, /nothing was changed/);
    t.equal((await done(world, env, ['load'])).includes('dave'), true);
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
  const fault: Fault = { name: 'sendmsg', number: 1, about: '', errno: 'ENOMEM' };
  const { status, stderr } = await runFaulty(world, fault, ['unload', '--force'], env);
  t.equal(status, 1, stderr);
  t.ok(existsSync(join(env.RUNTIME_DIRECTORY ?? '', 'hold')), 'it stays unloaded');
  await supervisor.stop();
});
