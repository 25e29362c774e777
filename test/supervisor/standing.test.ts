/** `status` says who looks after the table. */
import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { createWorld } from '../kernel/world.ts';
import { type Supervised, skip, ssh, supervised, until } from './supervised.ts';

/** Asks until the supervisor that is known is the one with this process id. */
async function knows(
  { world, environment }: Supervised,
  pid: number | undefined,
): Promise<number | undefined> {
  const ask = async () =>
    JSON.parse((await world.knockd(['status', '--json'], { env: environment })).stdout).supervisor?.pid;
  return until(ask, known => known === pid);
}

t.test('status names the supervisor while it runs, and the hold', { skip }, async t => {
  const { world, supervisor, environment } = await supervised(t, { services: { ssh } });
  const status = async () => {
    const { stdout } = await world.knockd(['status'], { env: environment });
    const json = JSON.parse((await world.knockd(['status', '--json'], { env: environment })).stdout);
    return { text: stdout, json };
  };
  const running = await status();
  t.match(running.json.supervisor, { pid: supervisor.pid, config: world.configFile });
  t.match(running.text, `\nsupervisor: process ${supervisor.pid} follows ${world.configFile}\n`);
  t.match(running.json, { hold: null, trial: null });
  await world.knockd(['unload', '--force'], { env: environment });
  const held = await status();
  t.match(held.json.hold, { reason: String, until: null });
  t.match(held.text, /^held: /m);
  await supervisor.stop();
  const alone = await status();
  t.equal(alone.json.supervisor, null);
  t.match(alone.text, /^supervisor: none runs/m);
});

t.test(
  'a supervisor that other commands cannot know of says so, and is known as soon as it can be',
  { skip },
  async t => {
    const here = await supervised(t, { services: { ssh } });
    const { world, supervisor, environment } = here;
    const note = join(environment.RUNTIME_DIRECTORY ?? '', 'supervisor.pid');
    t.equal(await knows(here, supervisor.pid), supervisor.pid);
    rmSync(note);
    t.equal(await knows(here, supervisor.pid), supervisor.pid, 'a note that others removed is written again');

    for (let isFolder = false; !isFolder; ) {
      rmSync(note, { force: true });
      try {
        mkdirSync(note);
        isFolder = true;
      } catch {} // the supervisor was quicker
    }
    await supervisor.line(
      /"msg":"other commands cannot know that a supervisor runs: EISDIR: .*trying again"/,
    );
    t.equal(await knows(here, undefined), undefined);
    rmdirSync(note);
    t.equal(await knows(here, supervisor.pid), supervisor.pid);
    t.equal(
      (await world.knockd(['unload'], { env: environment })).status,
      1,
      'so nobody unloads behind its back',
    );
    await supervisor.stop();
  },
);

t.test(
  'a supervisor of very many services is ready, too, and tells of them in as few words as systemd takes',
  { skip },
  async t => {
    const world = await createWorld(t);
    const folder = dirname(world.configFile);
    const env = { RUNTIME_DIRECTORY: folder, NOTIFY_SOCKET: join(folder, 'notify') };
    const manager = world.start('server', process.execPath, [
      'build/test/supervisor/manager.js',
      env.NOTIFY_SOCKET,
    ]);
    await manager.line(/^bound/);
    const services = (name: string) =>
      Object.fromEntries(
        Array.from({ length: 200 }, (_, index) => [
          `${name}-with-a-long-name-${index}`,
          { ports: [2000 + index], sequence: [20_000 + index, 30_000 + index, 40_000 + index] },
        ]),
      );
    world.write({ services: services('a-service') });
    const supervisor = world.startKnockd(['run'], env);
    await supervisor.line(/"event":"loaded"/);
    await manager.line(/^READY=1/);
    world.write({ services: services('another') });
    await supervisor.line(/"swapped table .*: services\.another-\S+: new; .*, and 380 more"/);
    await supervisor.stop();
  },
);

t.test('of two supervisors the first is known, and then the second', { skip }, async t => {
  const here = await supervised(t, { services: { ssh } });
  const { world, supervisor, environment } = here;
  const second = world.startKnockd(['run'], environment);
  await second.line(/"event":"unchanged"/);
  t.equal(await knows(here, supervisor.pid), supervisor.pid);
  await second.stop();
  t.equal(await knows(here, supervisor.pid), supervisor.pid, 'also when the other one has ended');
  const third = world.startKnockd(['run'], environment);
  await third.line(/"event":"unchanged"/);
  await supervisor.stop('SIGKILL');
  t.equal(await knows(here, third.pid), third.pid, 'killed, it is followed by one that runs');
  await third.stop();
});
