/** A machine whose runtime folder outlives a boot, or a container: what these ended is over. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import t from 'tap';
import { monotonic } from '../../src/host/clock.ts';
import { bootOf } from '../boot.ts';
import { ssh, sshKnocks, until } from './loaded.ts';
import { lacking, type Running } from './process.ts';
import { candidate, loaded, reach, runtime, startTry, trying } from './trying.ts';
import { missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd') || lacking('pgrep');
const others = { services: { ssh: { ...ssh, sequence: [11000, 2345, 3456, 1234] } } };

/** Ends all processes of a trial, and all rules, as the end of the machine does. */
async function crash(world: World, command: Running, notes: string): Promise<void> {
  const { stdout } = await world.run('server', 'pgrep', ['--full', `undo --id ${idOf(readFileSync(notes))}`]);
  await world.run('server', 'kill', ['-KILL', ...stdout.trim().split('\n'), String(command.pid)]);
  await command.ended;
  await world.nft('flush ruleset');
}

const idOf = (notes: Buffer) => notes.subarray(0, 12).toString();

t.test(
  'a trial that a boot ended holds nothing up, and nothing brings its clients back',
  { skip },
  async t => {
    const { world } = await loaded(t, { services: { ssh } });
    const folders = { ...runtime(world), STATE_DIRECTORY: join(dirname(world.configFile), 'state') };
    await world.host('client').knock(world.server.ipv4, [...sshKnocks]);
    t.equal(await reach(world), 'open');
    const first = { ...folders, ...bootOf('1') };
    const command = startTry(world, [candidate(world, others), '--for', '10m'], first);
    await command.line(trying);

    const notes = join(folders.RUNTIME_DIRECTORY, 'trial');
    await crash(world, command, notes);

    const env = { ...folders, ...bootOf('2') };
    const at = (...args: string[]) => world.knockd(args, { env });
    t.match(await at('load'), { status: 0, stdout: /^loaded/ });
    t.equal(await reach(world), 'silent');
    t.match(await at('confirm'), { status: 1, stderr: /no trial is under way/ });
    t.match(await at('undo'), { status: 1, stderr: /no trial is under way/ });
    t.equal(await reach(world), 'silent', 'a client of that boot');
    const again = startTry(world, [candidate(world, others), '--for', '10m'], env);
    await again.line(trying);
    t.match(await at('undo'), { status: 0 });
    await again.ended;
    t.notOk(existsSync(notes));
  },
);

t.test('a trial that the end of a container ended holds nothing up', { skip }, async t => {
  const { world } = await loaded(t, { services: { ssh } });
  const env = { ...runtime(world), STATE_DIRECTORY: join(dirname(world.configFile), 'state') };
  const command = startTry(world, [candidate(world, others), '--for', '10m'], env);
  await command.line(trying);
  const path = join(env.RUNTIME_DIRECTORY, 'trial');
  await crash(world, command, path);

  const notes = readFileSync(path);
  const former = { ...(deserialize(notes.subarray(12)) as object), network: 'net:[1]' };
  const write = (ends: number) =>
    writeFileSync(path, Buffer.concat([notes.subarray(0, 12), serialize({ ...former, ends })]));
  const at = (...args: string[]) => world.knockd(args, { env });
  write(monotonic() + 600_000);
  t.match(await at('undo'), { status: 1, stderr: /another network namespace/ }, 'it may go on there');
  write(monotonic() - 600_000);
  t.match(await at('undo'), { status: 1, stderr: /no trial is under way/ });
  const again = startTry(world, [candidate(world, others), '--for', '10m'], env);
  await again.line(trying);
  t.match(await at('undo'), { status: 0 });
  await again.ended;
});

t.test('a supervisor does not wait for a hold that a boot ended', { skip }, async t => {
  const { world } = await loaded(t, { services: { ssh } });
  const folders = { ...runtime(world), STATE_DIRECTORY: join(dirname(world.configFile), 'state') };
  const first = { ...folders, ...bootOf('1') };
  const supervisor = world.startKnockd(['run'], first);
  await supervisor.line(/"event":"unchanged"/);
  t.match(await world.knockd(['unload', '--force'], { env: first }), { status: 0 });
  await supervisor.stop('SIGKILL');
  const next = world.startKnockd(['run'], { ...folders, ...bootOf('2') });
  await next.line(/"event":"loaded"/);
  t.equal(
    await until(
      () => reach(world),
      answer => answer === 'silent',
    ),
    'silent',
  );
  await next.stop();
});
