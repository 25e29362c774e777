/** The process that `try` starts, and that must not end before its work is done. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import t from 'tap';
import { ssh, sshKnocks, status, until } from './loaded.ts';
import { lacking } from './process.ts';
import { candidate, enough, loaded, reach, rules, runtime, startTry, trying } from './trying.ts';
import { missing } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
t.jobs = 2;

const before = { services: { ssh }, allow: ['10.77.0.2'] };
const lockout = { services: { ssh: { ...ssh, sequence: [11000, 2345, 3456, 1234] } } };

const idOf = (notes: Buffer) => notes.subarray(0, 12).toString();

t.test(
  'the process that looks after a trial is started again when it ends',
  { skip: skip || lacking('pgrep') },
  async t => {
    const { world } = await loaded(t, before);
    const env = runtime(world);
    const was = await rules(world);
    const command = startTry(world, [candidate(world, lockout), '--for', await enough(world, 3)], env);
    await command.line(trying);
    command.signal('SIGKILL');
    const id = idOf(readFileSync(join(env.RUNTIME_DIRECTORY, 'trial')));
    const { stdout } = await world.run('server', 'pgrep', [
      '--full',
      `^${process.execPath} .*undo --id ${id}`,
    ]);
    t.equal((await world.run('server', 'kill', ['-KILL', stdout.trim()])).status, 0);
    await until(
      () => rules(world),
      now => now === was,
    );
    t.equal(await reach(world), 'open');
  },
);

t.test('notes that are taken away when the command is gone, too, are no end', { skip }, async t => {
  const { world } = await loaded(t, before);
  const env = runtime(world);
  const was = await rules(world);
  const command = startTry(world, [candidate(world, lockout), '--for', '10m'], env);
  await command.line(trying);
  await delay(3000); // what looks after it has read its notes by then, which nobody can see
  command.signal('SIGKILL');
  rmSync(env.RUNTIME_DIRECTORY, { recursive: true });
  await until(
    () => rules(world),
    now => now === was,
  );
  t.equal(await reach(world), 'open');
});

t.test('a trial that version 1.0.0 began is undone by this one', { skip }, async t => {
  const { world } = await loaded(t, lockout);
  const env = runtime(world);
  const bytes = readFileSync('test/kernel/trial-1.0.0');
  const saved = deserialize(bytes.subarray(12)) as object;
  const network = (await world.run('server', 'readlink', ['/proc/self/ns/net'])).stdout.trim();
  const notes = { ...saved, network, config: world.configFile, candidate: `${world.configFile}.new` };
  const trial = join(env.RUNTIME_DIRECTORY, 'trial');
  writeFileSync(trial, Buffer.concat([bytes.subarray(0, 12), serialize(notes)]), { mode: 0o600 });
  const { status: done, stdout, stderr } = await world.knockd(['undo', '--id', idOf(bytes)], { env });
  t.equal(done, 0, stderr);
  t.match(stdout, /^undone: the former rules are back/m);
  const { services, inSync } = await status(world);
  t.same(Object.keys(services), ['admin', 'ssh']);
  t.match(services.ssh, { ports: ['22/tcp'] });
  t.equal(inSync, false);
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  t.match(
    (await status(world)).services.ssh?.clients,
    [{ address: world.client.ipv4 }],
    'by the old sequence',
  );
  t.notOk(existsSync(trial));
});

t.test('notes of a later version are reported, and the file is loaded', { skip }, async t => {
  for (const words of [['undo'], ['undo', '--id', '0123456789ab']]) {
    const { world } = await loaded(t, before);
    const env = runtime(world);
    const was = await rules(world);
    const trial = join(env.RUNTIME_DIRECTORY, 'trial');
    const command = startTry(world, [candidate(world, lockout), '--for', '10m'], env);
    await command.line(trying);
    writeFileSync(trial, Buffer.concat([Buffer.from('0123456789ab'), serialize({ version: 1000 })]));
    const confirm = await world.knockd(['confirm'], { env });
    t.equal(confirm.status, 1);
    t.match(confirm.stderr, /^knockd-nft: another version of knockd-nft began the trial, /);
    const undo = await world.knockd(words, { env });
    t.equal(undo.status, 0, undo.stderr);
    t.match(undo.stderr, /another version began the trial: the configuration is loaded instead/);
    t.equal(await rules(world), was);
    t.notOk(existsSync(trial));
    await command.ended;
  }
});
