/** A listener that does not listen to the supervisor keeps it from nothing. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { createWorld, type World } from '../kernel/world.ts';
import { skip, ssh, until } from './supervised.ts';

const guarding = (port: number) => ({ services: { ssh: { ...ssh, ports: [port] } } });

async function made(t: Test): Promise<{ readonly world: World; readonly folder: string }> {
  const world = await createWorld(t);
  const folder = join(dirname(world.configFile), 'run');
  mkdirSync(folder);
  world.write(guarding(22));
  return { world, folder };
}

async function follows(t: Test, world: World, port: number): Promise<void> {
  world.write(guarding(port));
  const guards = (rules: string) => rules.includes(`tcp . ${port} : goto guard_ssh`);
  t.ok(guards(await until(() => world.list(), guards)), `the file is followed to ${port}`);
}

t.test('a journal that nobody reads', { skip }, async t => {
  const { world, folder } = await made(t);
  const knockd = `${process.execPath} dist/knockd-nft.cjs --config ${world.configFile}`;
  const reader = world.start('server', 'sh', ['-c', `${knockd} run 2>&1 | sleep 40 >/dev/null 2>&1`], {
    RUNTIME_DIRECTORY: folder,
  });
  await follows(t, world, 23);
  const pid = Number.parseInt(readFileSync(join(folder, 'supervisor.pid'), 'utf8'), 10);
  const unknown = (round: number) =>
    Object.fromEntries(Array.from({ length: 200 }, (_, key) => [`${'x'.repeat(300)}${round}_${key}`, 1]));
  for (let round = 0; round < 3; round++) {
    world.write(unknown(round)); // more lines than a pipe takes
    await new Promise(resolve => setTimeout(resolve, 500));
  }
  await follows(t, world, 24);
  process.kill(pid, 'SIGTERM');
  const runs = async () => existsSync(`/proc/${pid}`);
  t.notOk(await until(runs, running => !running), 'and it can be stopped');
  await reader.stop('SIGKILL');
});

t.test('a service manager that does not read', { skip }, async t => {
  const { world, folder } = await made(t);
  const socket = join(folder, 'notify');
  const deaf = world.start('server', process.execPath, ['build/test/supervisor/deaf.js', socket]);
  await deaf.line(/bound/);
  const supervisor = world.startKnockd(['run'], { RUNTIME_DIRECTORY: folder, NOTIFY_SOCKET: socket });
  await supervisor.line(/"event":"loaded"/);
  const most = Number(readFileSync('/proc/sys/net/unix/max_dgram_qlen', 'utf8'));
  for (let signal = 0; signal < 2 * most + 10 && signal < 2000; signal++) {
    supervisor.signal('SIGHUP');
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  await follows(t, world, 23);
  t.equal((await supervisor.stop()).status, 0);
});
