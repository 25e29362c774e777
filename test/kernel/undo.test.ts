/**
 * Obstacles that could keep `try` from going back, or mislead it: processes that die, files that vanish, changes by
 * others.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { supervised } from '../supervisor/supervised.ts';
import { ssh, sshKnocks, status, until } from './loaded.ts';
import { candidate, enough, loaded, reach, rules, runtime, startTry, trying } from './trying.ts';
import { missing, sendsLarge, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
t.jobs = 4;

const before = { services: { ssh }, allow: ['10.77.0.2'] };
const other = { ...ssh, sequence: [11000, 2345, 3456, 1234] };
const lockout = { services: { ssh: other } };
const many = Object.fromEntries(
  Array.from({ length: sendsLarge ? 600 : 50 }, (_, index) => [
    `many${index}`,
    { ports: [20000 + index], sequence: [4000 + index, 5000 + index, 6000 + index] },
  ]),
);

const becomes = (world: World, was: string) =>
  until(
    () => rules(world),
    now => now === was,
  );

t.test('an undo that is killed, wherever it is, is done by another', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, { ...before, services: { ssh, ...many } });
  const was = await rules(world);
  const command = startTry(world, [candidate(world, { ...lockout, hook: 'prerouting' }), '--for', '12s']);
  await command.line(trying);
  command.signal('SIGKILL');
  for (let time = 100; time < 700; time += 75) {
    const undo = world.startKnockd(['undo']);
    await delay(time);
    await undo.stop('SIGKILL');
  }
  t.equal(await becomes(world, was), was);
  t.equal(await reach(world), 'open');
});

t.test(
  'a process that is stopped in the middle keeps nobody from going back',
  { skip, buffered: true },
  async t => {
    const { world } = await loaded(t, before);
    const env = runtime(world);
    const words = [candidate(world, lockout), '--for', await enough(world, 3)];
    const command = startTry(world, words, env);
    await command.line(trying);
    command.signal('SIGKILL');
    const stopped = world.start('server', 'flock', [
      '--no-fork',
      join(env.RUNTIME_DIRECTORY, 'trial'),
      'sh',
      '-c',
      'echo held; exec sleep 1000',
    ]);
    await stopped.line(/^held$/);
    const confirm = await world.knockd(['confirm'], { env });
    t.equal(confirm.status, 1);
    t.match(confirm.stderr, /^knockd-nft: the trial is being loaded or undone: try again in a few seconds/);
    t.equal(
      await until(
        () => reach(world),
        answer => answer === 'open',
      ),
      'open',
    );
    await stopped.stop('SIGKILL');
  },
);

t.test('a trial that cannot be confirmed at the end is undone', { skip, buffered: true }, async t => {
  for (const what of ['the file cannot be written', 'the kernel has something else']) {
    const { world } = await loaded(t, undefined);
    const folder = `${world.configFile}.d`;
    mkdirSync(folder);
    const config = join(folder, 'knockd-nft.json');
    renameSync(world.write({ services: {} }), config);
    t.equal((await world.knockd(['load'], { config })).status, 0);
    const was = await rules(world);
    const words = ['try', candidate(world, { services: { ssh } }), '--for', await enough(world, 4)];
    const knockd = [process.execPath, 'dist/knockd-nft.cjs', '--config', config];
    const command = world.start('server', 'setsid', [...knockd, ...words]);
    await command.line(trying);
    if (what.startsWith('the file')) rmSync(folder, { recursive: true });
    else await world.nft('add rule inet knockd input meta mark 0x1 accept');
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    t.equal(await reach(world), 'open');
    await command.line(
      what.startsWith('the file')
        ? /knockd-nft\.json cannot be written \(ENOENT\): make it writable and confirm again/
        : /the kernel no longer has the candidate/,
    );
    command.signal('SIGKILL');
    t.equal(await becomes(world, was), was, what);
  }
});

t.test('a candidate whose file went away can still be confirmed', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const file = candidate(world, lockout);
  const command = startTry(world, [file, '--for', '1m']);
  await command.line(trying);
  rmSync(file);
  const { status: confirmed, stderr } = await world.knockd(['confirm']);
  t.equal(confirmed, 0, stderr);
  t.equal((await command.ended).status, 0);
  t.match(JSON.parse(readFileSync(world.configFile, 'utf8')), lockout);
  t.ok((await status(world)).inSync);
});

t.test('rules that were changed by hand come back as they were', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  await world.nft(`
add chain inet knockd mine
add rule inet knockd mine tcp option maxseg size 1-500 counter drop
add rule inet knockd mine ct mark 0x5 limit rate over 5/second drop
add rule inet knockd mine meta skuid 0 accept comment "mine"
add set inet knockd addresses { type ipv4_addr; flags interval; }
add element inet knockd addresses { 192.0.2.0/24, 198.51.100.7 }
insert rule inet knockd input ip saddr != @addresses jump mine
insert rule inet knockd input udp dport 53 accept`);
  for (const config of [lockout, { ...lockout, table: 'other' }, { ...lockout, hook: 'prerouting' }]) {
    const was = await rules(world);
    const command = startTry(world, [candidate(world, config), '--for', '1m']);
    await command.line(trying);
    t.not(await rules(world), was);
    t.equal((await world.knockd(['undo'])).status, 0);
    t.equal(await rules(world), was);
    await command.ended;
  }
});

t.test(
  'a candidate is not tried if the former rules could not be brought back',
  { skip, buffered: true },
  async t => {
    const { world } = await loaded(t, before);
    for (const by of [
      'insert rule inet knockd input tcp dport { 80, 443 } accept',
      'add set inet knockd addresses { type ether_addr; }',
    ]) {
      await world.nft(by);
      const was = await rules(world);
      const { status: refused, stderr } = await world.knockd(['try', candidate(world, lockout)]);
      t.equal(refused, 1, by);
      t.match(
        stderr,
        /^knockd-nft: another program changed table inet knockd so that an undo could not bring it back \(.*/,
      );
      t.match(stderr, /run "knockd-nft load" first\n$/);
      t.equal(await rules(world), was);
      t.equal((await world.knockd(['load'])).status, 0, 'as it says');
    }
  },
);

t.test('a client that came back as somebody else is no obstacle', { skip, buffered: true }, async t => {
  const sequences = { alice: [6001, 6003, 6005], bob: [6001, 6005, 6003] };
  const admin = { ...ssh, ports: [8443], sequence: undefined, sequences };
  const { world } = await loaded(t, { services: { admin } });
  const client = world.host('client');
  await client.knock(world.server.ipv4, ['6001/tcp', '6003/tcp', '6005/tcp']);
  const command = startTry(world, [candidate(world, { services: { admin }, table: 'other' }), '--for', '1m']);
  await command.line(trying);
  await client.knock(world.server.ipv4, ['6001/tcp', '6005/tcp', '6003/tcp']);
  const undo = await world.knockd(['undo']);
  t.equal(undo.status, 0, undo.stderr);
  await command.ended;
  t.match(await status(world), {
    table: 'knockd',
    services: { admin: { clients: [{ address: world.client.ipv4, user: 'bob' }] } },
  });
});

t.test(
  'a client that was revoked meanwhile does not come back with the rules',
  { skip, buffered: true },
  async t => {
    const admin = { ...other, ports: [8443] };
    for (const [config, words] of [
      [{ services: { ssh, admin }, table: 'other' }, ['ssh', '10.77.0.2']],
      [{ services: { admin } }, ['--all']],
    ] as const) {
      const { world } = await loaded(t, { services: { ssh } });
      const env = runtime(world);
      for (const address of [world.client.ipv4, '192.0.2.8'])
        t.equal((await world.knockd(['grant', 'ssh', address])).status, 0);
      const command = startTry(world, [candidate(world, config), '--for', '1m'], env);
      await command.line(trying);
      t.equal((await world.knockd(['revoke', ...words], { env })).status, 0);
      t.equal((await world.knockd(['undo'], { env })).status, 0);
      t.equal(await reach(world), 'silent', words.join(' '));
      const { clients = [] } = (await status(world)).services.ssh ?? {};
      t.equal(clients.length, words[0] === '--all' ? 0 : 1, 'the other one is in');
    }
  },
);

t.test('notes that somebody takes away confirm nothing', { skip, buffered: true }, async t => {
  for (const inPlace of [false, true]) {
    const { world, environment } = await loaded(t, before);
    const was = await rules(world);
    const env = { ...environment, ...runtime(world) };
    if (inPlace) world.write(lockout);
    const words = inPlace ? [] : [candidate(world, lockout)];
    const command = startTry(world, [...words, '--for', '1m'], env);
    await command.line(trying);
    rmSync(env.RUNTIME_DIRECTORY, { recursive: true });
    const { status, stdout } = await command.ended;
    t.match({ status, stdout }, { status: 1, stdout: /^undone/ });
    t.equal(await rules(world), was);
  }
});

/** Runs `try` with a runtime folder that is a file system of its own. */
async function tryOn(world: World, folder: string, options: string, file: string) {
  const knockd = `${process.execPath} dist/knockd-nft.cjs --config ${world.configFile} try ${file} --for 1s`;
  const script = `mount -t tmpfs -o ${options} tmpfs ${folder} && exec ${knockd}`;
  return world.run('server', 'setsid', ['sh', '-c', script], { env: { RUNTIME_DIRECTORY: folder } });
}

t.test('a runtime folder without room changes nothing', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const was = await rules(world);
  const { RUNTIME_DIRECTORY } = runtime(world);
  const file = candidate(world, lockout);
  for (const options of ['size=8k', 'size=20k', 'nr_inodes=2', 'nr_inodes=3']) {
    const { status, stdout, stderr } = await tryOn(world, RUNTIME_DIRECTORY, options, file);
    t.same([status, stdout], [1, ''], options);
    t.match(stderr, /^knockd-nft: ENOSPC: no space left on device, .*: make room there, and try again\n$/);
    t.equal(await rules(world), was);
  }
});

t.test('a trial in one network is not undone in another', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const env = runtime(world);
  const command = startTry(world, [candidate(world, lockout), '--for', '1m'], env);
  await command.line(trying);
  for (const words of [['undo'], ['confirm']]) {
    const { status: refused, stderr } = await world.knockd(words, { host: 'client', env });
    t.equal(refused, 1);
    t.match(stderr, /for another network namespace, net:\[\d+\]: run this there\n$/);
  }
  t.equal((await world.run('client', 'nft', ['list', 'ruleset'])).stdout, '');
  t.equal((await world.knockd(['undo'], { env })).status, 0);
  await command.ended;
});

t.test(
  'a load of the supervisor that is under way leaves the candidate alone',
  { skip, buffered: true },
  async t => {
    const { world, environment } = await supervised(t, { services: { ssh } });
    world.write({ services: { ssh, ...many } });
    await delay(100);
    const command = startTry(world, [candidate(world, lockout), '--for', '10m'], environment);
    await command.line(trying);
    for (let look = 0; look < 20; look++) {
      t.match(await rules(world), /\b11000\b/, 'the candidate');
      await delay(50);
    }
    t.equal((await world.knockd(['undo'], { env: environment })).status, 0);
    t.equal((await command.ended).status, 1);
    await until(
      () => status(world),
      ({ services, inSync }) => inSync === true && 'many1' in services,
    );
  },
);

t.test("a folder that is somebody else's leads nobody", { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const env = runtime(world);
  const at = (name: string) => join(env.RUNTIME_DIRECTORY, name);
  for (const name of ['hold', 'supervisor.pid'])
    t.equal((await world.run('server', 'mkfifo', [at(name)])).status, 0);
  t.equal((await world.knockd(['status'], { env })).status, 0, 'no pipe is waited for');
  t.equal((await world.knockd(['unload'], { env })).status, 0);
  t.equal((await world.knockd(['load'], { env })).status, 0);

  const elsewhere = `${world.configFile}.elsewhere`;
  writeFileSync(elsewhere, 'precious');
  for (const name of ['trial', 'hold', 'supervisor.pid']) {
    rmSync(at(name), { force: true });
    symlinkSync(elsewhere, at(name));
  }
  for (const words of [['try', candidate(world, lockout)], ['confirm'], ['undo']]) {
    const { status: refused, stderr } = await world.knockd(words, { env });
    t.equal(refused, 1);
    t.match(stderr, /^knockd-nft: the trial is another user's, .*, remove \S+\/trial\n$/);
  }
  rmSync(at('trial'));
  const command = startTry(world, [candidate(world, lockout), '--for', '2s'], env);
  await command.line(trying);
  t.equal((await command.ended).status, 1);
  t.equal(readFileSync(elsewhere, 'utf8'), 'precious');
  t.notOk(existsSync(at('trial')));
});

t.test('a login from the host itself shows nothing', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const command = startTry(world, [candidate(world, lockout), '--for', '1m']);
  await command.line(trying);
  const { ipv4, ipv6 } = world.server;
  for (const from of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', ipv4, ipv6]) {
    const SSH_CONNECTION = `${from} 40000 ${from} 22`;
    const { status: refused, stderr } = await world.knockd(['confirm'], { env: { SSH_CONNECTION } });
    t.equal(refused, 1, from);
    t.match(stderr, /^knockd-nft: this login comes from this host itself, so it does not prove /);
  }
  const SSH_CONNECTION = 'fe80::1234%eth0 40000 fe80::1%eth0 22';
  t.equal((await world.knockd(['confirm'], { env: { SSH_CONNECTION } })).status, 0);
  await command.ended;
});

t.test(
  'without root, confirm and undo say what is missing, with 77',
  { skip: skip || (process.getuid?.() !== 0 && 'only root may become another user'), buffered: true },
  async t => {
    const { world } = await loaded(t, before);
    const env = runtime(world);
    chmodSync(dirname(world.configFile), 0o755);
    const command = startTry(world, [candidate(world, lockout), '--for', '5m'], env);
    await command.line(trying);
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath];
    for (const word of ['confirm', 'undo']) {
      const words = [...nobody, 'dist/knockd-nft.cjs', '--config', world.configFile, word];
      const { status, stderr } = await world.run('server', 'setpriv', words, { env });
      t.equal(status, 77, word);
      t.match(stderr, /^knockd-nft: not permitted: EACCES: .*trial.* \(run it as root\)\n$/);
    }
    t.match(await command.stop('SIGINT'), { status: 1, stdout: /^undone: / });
  },
);
