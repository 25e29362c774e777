/** Obstacles to a load: a trial, a supervisor of another file, and a process that only looks like one. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { supervised } from '../supervisor/supervised.ts';
import { patient, ssh, status, until } from './loaded.ts';
import { candidate, loaded, rules, runtime, startTry, trying } from './trying.ts';
import { missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
t.jobs = 3;

const before = { services: { ssh } };
const other = { services: { web: { ports: [8080], sequence: [7001, 7003, 7005] } } };

t.test('a load of another file than the supervisor follows is refused', { skip, buffered: true }, async t => {
  const { world, environment: env, event } = await supervised(t, before);
  const was = await rules(world);
  const file = candidate(world, other);
  const refused = await world.knockd(['load'], { env, config: file });
  t.equal(refused.status, 64);
  t.match(
    refused.stderr,
    /follows another file, and would load that again: knockd-nft --config \S+\.json load; /,
  );
  t.equal(await rules(world), was);

  const forced = await world.knockd(['load', '--force'], { env, config: file });
  t.equal(forced.status, 0, forced.stderr);
  t.match(await event('held'), { reason: `${file} is loaded by hand` });
  t.same(Object.keys((await status(world)).services), ['web'], 'and it stays');

  t.equal((await world.knockd(['load'], { env })).status, 0, 'that of its own');
  await event('unchanged');
  t.equal(await rules(world), was);
});

t.test('a supervisor in another network keeps nobody from a load here', { skip, buffered: true }, async t => {
  const { world, environment: env } = await supervised(t, before);
  const here = { env, host: 'client', config: candidate(world, other) };
  t.equal((await world.knockd(['load'], here)).status, 0);
  t.equal((await world.knockd(['unload'], here)).status, 0);
  t.same(Object.keys((await status(world)).services), ['ssh']);
});

t.test(
  'another process with the number of a supervisor that is gone is none',
  { skip, buffered: true },
  async t => {
    const { world } = await loaded(t, before);
    const env = runtime(world);
    const supervisor = world.startKnockd(['run'], env);
    await supervisor.line(/"event":"unchanged"/);
    const path = join(env.RUNTIME_DIRECTORY, 'supervisor.pid');
    const [, ...lines] = readFileSync(path, 'utf8').split('\n');
    t.equal((await world.knockd(['unload'], { env })).status, 1);
    await supervisor.stop('SIGKILL');
    // it has the word as well
    const somebody = world.start('server', 'sh', ['-c', 'echo here; exec sleep 1000', 'run']);
    await somebody.line(/here/);
    writeFileSync(path, [somebody.pid, ...lines].join('\n'));
    t.equal((await world.knockd(['unload'], { env })).status, 0);
  },
);

t.test('a reload during a trial says that nothing is read', { skip, buffered: true }, async t => {
  const { world, environment: env, supervisor, event } = await supervised(t, before);
  const check = () => world.knockd(['check', '--reload'], { env });
  t.equal((await check()).status, 0);
  const command = startTry(world, [candidate(world, other), '--for', '10m'], env);
  await command.line(trying);
  const { status: refused, stderr } = await check();
  t.equal(refused, 1);
  t.match(
    stderr,
    /^knockd-nft: trying \S+: "knockd-nft confirm" keeps that, "knockd-nft undo" goes back; nothing was changed\n$/,
  );
  await event('held');
  supervisor.signal('SIGHUP');
  await supervisor.line(/"msg":"not reloaded: trying \S+, until 20/);
  t.equal((await world.knockd(['undo'], { env })).status, 0);
  await command.ended;
  await until(check, ({ status }) => status === 0);
});

const ways: Readonly<Record<string, (world: World, env: Readonly<Record<string, string>>) => Promise<void>>> =
  {
    'a trial was confirmed': async (world, env) => {
      const command = startTry(world, [candidate(world, both), '--for', '10m'], env);
      await command.line(trying);
      await enter(world);
      const { status: confirmed, stderr } = await world.knockd(['confirm'], { env });
      if (confirmed !== 0) throw new Error(stderr);
    },
    'a load by hand': async (world, env) => {
      world.write(both);
      const { status: done, stderr } = await world.knockd(['load'], { env });
      if (done !== 0) throw new Error(stderr);
      await enter(world);
    },
  };
const both = { services: { ssh, web: { ...other.services.web, ...patient } } };

async function enter(world: World): Promise<void> {
  await world.host('client').knock(world.server.ipv4, ['7001/tcp', '7003/tcp', '7005/tcp']);
}

for (const [way, act] of Object.entries(ways))
  t.test(
    `${way} while the supervisor did not look: it puts nothing older back`,
    { skip, buffered: true },
    async t => {
      const { world, environment: env, supervisor, event, events } = await supervised(t, before);
      await world.nft('table inet beside { }'); // so it asks the kernel at its next look
      supervisor.signal('SIGSTOP'); // so it sees the kernel changed before it hears of the file
      await act(world, env);
      supervisor.signal('SIGCONT');
      await event('unchanged');
      const { web } = (await status(world)).services;
      t.match(web, { opened: 1, clients: [{ address: world.client.ipv4 }] }, 'the client is in');
      t.notMatch(
        events().map(it => it.event),
        /restored|swapped/,
      );
    },
  );

t.test(
  'a secret that was replaced and loaded by hand while the supervisor did not look: the former one does not come back',
  { skip, buffered: true },
  async t => {
    const file = join(mkdtempSync(join(tmpdir(), 'knockd-nft-test-')), 'alice');
    t.teardown(() => rmSync(dirname(file), { recursive: true }));
    const write = (digits: string) => writeFileSync(file, `${digits.repeat(32)}\n`, { mode: 0o600 });
    write('a1');
    const config = { services: { ssh: { ports: [22], tokens: { alice: { file } } } } };
    const { world, environment: env, supervisor, event, events } = await supervised(t, config);
    await world.nft('table inet beside { }'); // so it asks the kernel at its next look
    supervisor.signal('SIGSTOP');
    write('b2');
    const { status: done, stderr } = await world.knockd(['load'], { env });
    t.equal(done, 0, stderr);
    supervisor.signal('SIGCONT');
    await event('unchanged');
    t.notMatch(
      events().map(it => it.event),
      /restored|swapped/,
    );
  },
);
