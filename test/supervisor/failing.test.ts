/** A load that fails is reported, tried again, and done as soon as it can be. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { createWorld, type World } from '../kernel/world.ts';
import { skip, ssh, until } from './supervised.ts';

async function made(t: Test): Promise<{ readonly world: World; readonly env: Record<string, string> }> {
  const world = await createWorld(t);
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path);
  world.write({ services: { ssh } });
  return { world, env };
}

const isLoaded = (rules: string) => rules.includes('tcp . 22 : goto guard_ssh');

t.test('a foreign table of our name keeps it from loading only while it is there', { skip }, async t => {
  const { world, env } = await made(t);
  await world.nft('add table inet knockd');
  const supervisor = world.startKnockd(['run'], env);
  await supervisor.line(/cannot load .*exists and is not ours.*trying again/);
  await until(async () => existsSync(join(env.RUNTIME_DIRECTORY ?? '', 'trouble')), Boolean);
  const { stderr } = await world.knockd(['status'], { env });
  t.match(stderr, /the supervisor, since \d{4}-.*: cannot load .*exists and is not ours/);
  await world.nft('delete table inet knockd');
  await supervisor.line(/"event":"loaded"/);
  t.ok(isLoaded(await world.list()));
  const told = async () => existsSync(join(env.RUNTIME_DIRECTORY ?? '', 'trouble'));
  t.notOk(await until(told, it => !it), 'and nothing is said to be wrong any more');
  t.notMatch((await world.knockd(['status'], { env })).stderr, /the supervisor, since/);
  t.equal(supervisor.lines().filter(line => line.includes('trying again')).length, 1, 'told once');
});

t.test(
  'a last good file that fails to load is reported as such, and loaded when it can be',
  { skip },
  async t => {
    const { world, env } = await made(t);
    t.equal((await world.knockd(['load'], { env })).status, 0);
    await world.nft('flush ruleset; add table inet knockd');
    world.write('{ "services": 1 }');
    const supervisor = world.startKnockd(['run'], env);
    await supervisor.line(/"event":"invalid"/);
    await supervisor.line(/cannot load the last good configuration: .*is not ours/);
    await world.nft('delete table inet knockd');
    await supervisor.line(/is not valid: the last good configuration is in force instead/);
    t.ok(isLoaded(await until(() => world.list(), isLoaded)));
    t.notMatch(supervisor.lines().join('\n'), /no earlier one is kept/);
  },
);

t.test(
  'a file that its user may not read is reported, and loaded as soon as the user may read it',
  { skip: skip || process.getuid?.() !== 0 ? skip || 'needs root to become somebody else' : false },
  async t => {
    const { world, env } = await made(t);
    const folder = dirname(world.configFile);
    await world.run('server', 'chmod', ['755', folder]);
    await world.run('server', 'chmod', ['600', world.configFile]);
    await world.run('server', 'chown', ['65534:65534', ...Object.values(env)]);
    const supervisor = world.start(
      'server',
      'setpriv',
      [
        ...['--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all,+net_admin'],
        ...['--inh-caps=-all,+net_admin', '--ambient-caps=+net_admin', '--no-new-privs'],
        ...[process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'],
      ],
      env,
    );
    await supervisor.line(/cannot load .*this user may not read the file \(EACCES\).*trying again/);
    const trouble = join(env.RUNTIME_DIRECTORY ?? '', 'trouble');
    await until(async () => existsSync(trouble), Boolean);
    t.match(readFileSync(trouble, 'utf8'), /this user may not read the file/);
    await world.run('server', 'chgrp', ['65534', world.configFile]);
    await world.run('server', 'chmod', ['640', world.configFile]);
    await supervisor.line(/"event":"loaded"/);
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test('before the first good load the log is as the environment says', { skip }, async t => {
  const { world, env } = await made(t);
  world.write('{ "services": 1 }');
  const supervisor = world.startKnockd(['run'], { ...env, KNOCKD_NFT_LOG_FORMAT: 'text' });
  t.match(await supervisor.line(/invalid/), /^invalid .*event=invalid$/);
});
