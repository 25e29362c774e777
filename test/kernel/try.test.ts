/** `try`: what is not confirmed is undone, whatever becomes of the command; what is confirmed stays. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { supervised, until } from '../supervisor/supervised.ts';
import { ssh, sshKnocks, status } from './loaded.ts';
import type { Running } from './process.ts';
import { candidate, enough, loaded, reach, rules, startTry, trying } from './trying.ts';
import { missing } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
t.jobs = 4;

const sequence = [11000, 2345, 3456, 1234];
const before = { services: { ssh }, allow: ['10.77.0.2'] };
/** The administrator's own host, 10.77.0.2, cannot come in any more. */
const lockouts: Readonly<Record<string, object>> = {
  'another sequence': { services: { ssh: { ...ssh, sequence } } },
  'policy drop': { services: {}, policy: 'drop' },
  'another hook': { services: { ssh: { ...ssh, sequence } }, hook: 'prerouting' },
  'another table': { services: { ssh: { ...ssh, sequence } }, table: 'other' },
};

type Ending = 'left alone' | 'hung up' | 'killed' | 'killed with its process group';
const endings: Readonly<Record<Ending, (command: Running) => void>> = {
  'left alone': () => {},
  'hung up': command => process.kill(-command.pid, 'SIGHUP'),
  killed: command => process.kill(command.pid, 'SIGKILL'),
  'killed with its process group': command => process.kill(-command.pid, 'SIGKILL'),
};

Object.entries(endings).forEach(([ending, end], index) => {
  const [what = '', config = {}] = Object.entries(lockouts)[index] ?? [];
  t.test(`${what} that locks out is undone: the command ${ending}`, { skip, buffered: true }, async t => {
    const { world } = await loaded(t, before);
    const was = await rules(world);
    const command = startTry(world, [candidate(world, config), '--for', await enough(world, 2)]);
    await command.line(trying);
    t.equal(await reach(world), 'silent', 'locked out');
    end(command);
    t.equal(
      await until(
        () => reach(world),
        answer => answer === 'open',
      ),
      'open',
      'and in again',
    );
    const { status: ended } = await command.ended;
    t.equal(ended, { 'left alone': 1, 'hung up': 129 }[ending as string] ?? 137);
    t.equal(
      await until(
        () => rules(world),
        now => now === was,
      ),
      was,
      'the rules that were',
    );
    t.ok(existsSync(`${world.configFile}.new`), 'the candidate is left');
    t.match(JSON.parse(readFileSync(world.configFile, 'utf8')), before, 'the file is not touched');
    t.equal((await world.knockd(['undo'])).status, 1, 'nothing is left to undo');
  });

  t.test(`${what} under a supervisor: the command ${ending}`, { skip, buffered: true }, async t => {
    const { world, environment, event, events } = await supervised(t, before);
    await world.host('server').listen(22);
    const was = await rules(world);
    const words = [candidate(world, config), '--for', await enough(world, 3)];
    const command = startTry(world, words, environment);
    await command.line(trying);
    t.equal(await reach(world), 'silent', 'locked out');
    end(command);
    t.match(await event('held'), { reason: /^trying .*knockd-nft\.json\.new$/ });
    t.equal(
      await until(
        () => reach(world),
        answer => answer === 'open',
      ),
      'open',
      'and in again',
    );
    t.equal(
      await until(
        () => rules(world),
        now => now === was,
      ),
      was,
      'the rules that were',
    );
    await command.ended;
    await event('unchanged');
    t.notMatch(events(), [{ event: 'restored' }], 'the supervisor had nothing to put back');
  });
});

t.test('the first load ever is undone to no table', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, undefined);
  world.write({ services: {} });
  const words = [candidate(world, { services: { ssh } }), '--for', await enough(world, 2)];
  const command = startTry(world, words);
  await command.line(trying);
  t.equal(await reach(world), 'silent');
  command.signal('SIGKILL');
  t.equal(
    await until(
      () => rules(world),
      now => now === '',
    ),
    '',
    'no table',
  );
  t.equal(await reach(world), 'open');
});

t.test(
  'a trial that cannot be confirmed is undone, and a line says why',
  { skip, buffered: true },
  async t => {
    const { world } = await loaded(t, before);
    const file = candidate(world, { services: { ssh } });
    const command = startTry(world, [file, '--for', await enough(world, 5)]);
    await command.line(trying);
    const { stdout } = await world.knockd(['status']);
    t.match(stdout, /^table inet knockd: not as the configuration says$/m, 'load would be refused');
    t.match(stdout, /^held: trying .*\.new, until 20/m);
    t.match(
      stdout,
      /^trial: .*\.new, until 20.*: "knockd-nft confirm" keeps it, "knockd-nft undo" goes back$/m,
    );
    const { trial, hold } = JSON.parse((await world.knockd(['status', '--json'])).stdout);
    t.match(trial, { candidate: file, until: /^20.*Z$/ });
    t.match(hold, { reason: `trying ${file}`, until: /^20.*Z$/ });
    await world.nft('insert rule inet knockd input accept');
    const changed = await world.knockd(['confirm']);
    t.equal(changed.status, 1);
    t.match(
      changed.stderr,
      /^knockd-nft: the kernel no longer has the candidate: .*"knockd-nft undo" does that now\n$/,
    );
    await world.knockd(['confirm'], { config: false });
    t.equal((await command.ended).status, 1);
    t.ok((await status(world)).inSync);
    t.ok(existsSync(file));

    const nowhere = await world.knockd(['try', file], { env: { RUNTIME_DIRECTORY: '/dev/null' } });
    t.equal(nowhere.status, 1);
    t.match(nowhere.stderr, /^knockd-nft: E[A-Z]+: .*'\/dev\/null\S*'\n$/);
  },
);

t.test('Ctrl-C goes back at once', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const was = await rules(world);
  const command = startTry(world, [candidate(world, lockouts['another table'] ?? {}), '--for', '10m']);
  await command.line(trying);
  command.signal('SIGINT');
  const { status: ended, stdout } = await command.ended;
  t.equal(ended, 1);
  t.match(stdout, /^undone: the former rules are back/);
  t.equal(await rules(world), was);
});

t.test('clients that were in are in again, for the rest of their time', { skip, buffered: true }, async t => {
  const web = { ports: [8080], sequence: [7001, 7003, 7005], openFor: '1h' };
  const admin = {
    ports: [8443],
    sequences: { alice: [6001, 6003, 6005], bob: [6001, 6005, 6003] },
    openFor: '1h',
  };
  const { world } = await loaded(t, { services: { ssh, web, admin } });
  const client = world.host('client');
  await client.knock(world.server.ipv4, ['7001/tcp', '7003/tcp', '7005/tcp']);
  await client.knock(world.server.ipv6, ['6001/tcp', '6003/tcp', '6005/tcp']);
  const { services: were } = await status(world);
  const words = [candidate(world, { services: { ssh } }), '--for', await enough(world, 3)];
  const command = startTry(world, words);
  await command.line(trying);
  await client.knock(world.server.ipv4, sshKnocks);
  t.equal((await status(world)).services.web, undefined);
  t.equal((await command.ended).status, 1);
  const { services: are } = await status(world);
  t.match(are.ssh?.clients, [{ address: world.client.ipv4 }], 'who came in meanwhile stays');
  for (const [name, address, user] of [
    ['web', world.client.ipv4, null],
    ['admin', world.client.ipv6, 'alice'],
  ] as const) {
    t.match(are[name]?.clients, [{ address, user }]);
    const [was = 0, is = 0] = [were, are].map(services => services[name]?.clients[0]?.expires ?? 0);
    t.ok(is > 3000 && is < was - 1, `${name}: ${is} s of ${was} s are left`);
    t.equal(are[name]?.opened, 1, `${name}: the counter goes on`);
  }
});

t.test('a new login confirms', { skip, buffered: true }, async t => {
  const { world, environment, event } = await supervised(t, before);
  const client = world.host('client');
  await world.host('server').listen(22);
  const port = 40_022;
  const session = await client.open(world.server.ipv4, 22, { localPort: port });
  const file = candidate(world, { services: { ssh }, allow: ['10.77.0.2', '10.77.0.9'] });
  const text = readFileSync(file, 'utf8');
  // as in a tmux: a shell that outlives the connection over which it was started
  const fifo = `${world.configFile}.fifo`;
  const shell = ['-c', 'mkfifo "$0"; echo ready; read go <"$0"; "$@"; exit $?', fifo];
  const tmux = world.start('server', 'sh', [...shell, process.execPath, 'dist/knockd-nft.cjs', 'confirm'], {
    ...environment,
    SSH_CONNECTION: `${world.client.ipv4} 40021 ${world.server.ipv4} 22`,
  });
  await tmux.line(/^ready$/);
  const command = startTry(world, [file, '--for', '1m'], environment);
  await command.line(trying);

  const confirm = (SSH_CONNECTION: string) =>
    world.knockd(['confirm'], { env: { ...environment, SSH_CONNECTION } });
  const old = await confirm(`${world.client.ipv4} ${port} ${world.server.ipv4} 22`);
  t.equal(old.status, 1);
  t.match(old.stderr, /this login is older than the trial/);
  // sudo takes the variable away
  const words = [
    '-c',
    'env -u SSH_CONNECTION "$@"; exit $?',
    'sh',
    process.execPath,
    'dist/knockd-nft.cjs',
    'confirm',
  ];
  const sudo = await world.run('server', 'sh', words, {
    env: { ...environment, SSH_CONNECTION: `::ffff:${world.client.ipv4} ${port} ${world.server.ipv4} 22` },
  });
  t.equal(sudo.status, 1, 'found in the process above');
  writeFileSync(fifo, 'go\n');
  const inTmux = await tmux.ended;
  t.equal(inTmux.status, 1, 'a login that began before, over a connection that has ended since');
  t.match(inTmux.stderr, /this login is older than the trial/);
  t.equal((await world.knockd(['load'], { env: environment })).status, 1, 'no load meanwhile');
  t.equal((await world.knockd(['unload', '--force'], { env: environment })).status, 1, 'no unload either');
  t.match((await world.knockd(['try', file], { env: environment })).stderr, /a trial is under way/);
  t.match(await event('held'), { reason: /^trying / });

  const now = await confirm(`${world.client.ipv4} 40023 ${world.server.ipv4} 22`);
  t.equal(now.status, 0, now.stderr);
  t.match(now.stdout, /^confirmed; .* is .*knockd-nft\.json now/);
  const ended = await command.ended;
  t.equal(ended.status, 0);
  t.match(ended.stdout, /^confirmed/);
  t.equal(readFileSync(world.configFile, 'utf8'), text, 'the candidate is the configuration');
  t.equal(statSync(world.configFile).mode & 0o777, 0o640, 'with the rights of the former');
  t.notOk(existsSync(file));
  await event('unchanged');
  t.ok((await status(world)).inSync);
  t.equal(await session.send('still here'), 'alive');
  t.equal((await confirm('')).status, 1, 'there is nothing left to confirm');
});

for (const killed of [false, true])
  t.test(
    `a knock confirms${killed ? ', also when the command is gone' : ''}`,
    { skip, buffered: true },
    async t => {
      const { world } = await loaded(t, { services: {} });
      const file = candidate(world, { services: { ssh } });
      const command = startTry(world, [file, '--for', await enough(world, 4)]);
      await command.line(trying);
      if (killed) process.kill(-command.pid, 'SIGKILL');
      await world.host('client').knock(world.server.ipv4, sshKnocks);
      t.equal(await reach(world), 'open');
      const { status: ended, stdout } = await command.ended;
      t.equal(ended, killed ? 137 : 0);
      if (!killed) t.match(stdout, /^confirmed by a knock: a client opened ssh and came in/);
      await until(
        async () => existsSync(file),
        there => !there,
      );
      t.notOk(existsSync(file));
      t.ok((await status(world)).inSync);
      t.match(JSON.parse(readFileSync(world.configFile, 'utf8')), { services: { ssh: {} } });
    },
  );

t.test(
  'a knock without a connection, or a connection without a knock, confirms nothing',
  { skip, buffered: true },
  async t => {
    const { world } = await loaded(t, { services: { ssh } });
    const client = world.host('client');
    await client.knock(world.server.ipv4, sshKnocks);
    const web = { ports: [8080], sequence: [7001, 7003, 7005] };
    const words = [candidate(world, { services: { ssh, web } }), '--for', await enough(world, 3)];
    const command = startTry(world, words);
    await command.line(trying);
    t.equal(await reach(world), 'open', 'in since before');
    await client.knock(world.server.ipv4, ['7001/tcp', '7003/tcp', '7005/tcp']);
    t.equal((await command.ended).status, 1);
    t.equal((await status(world)).services.web, undefined, 'undone');
  },
);

t.test(
  'in place: a content that was not confirmed is not loaded later',
  { skip, buffered: true },
  async t => {
    const { world, environment: env } = await loaded(t, undefined);
    world.write({ services: { ssh } });
    t.equal((await world.knockd(['load'], { env })).status, 0);
    world.write(lockouts['another table'] ?? {});
    const command = startTry(world, ['--for', '2s'], env);
    await command.line(trying);
    t.equal((await command.ended).status, 1);
    t.match(
      JSON.parse(readFileSync(world.configFile, 'utf8')),
      { table: 'other' },
      'the file is not touched',
    );

    const plain = await world.knockd(['load'], { env });
    t.equal(plain.status, 78);
    t.match(plain.stderr, /knockd-nft\.json: this content was tried and not confirmed; expected a change, /);
    await world.nft('flush ruleset');
    const boot = await world.knockd(['load', '--last-good'], { env });
    t.equal(boot.status, 0);
    t.match(boot.stderr, /THE CONFIGURATION CANNOT BE USED: the last good one is loaded instead/);
    t.match(await status(world), { table: 'knockd', inSync: false });

    await world.nft('flush ruleset');
    const supervisor = world.startKnockd(['run'], env);
    await supervisor.line(/the last good configuration is in force instead/);
    t.match(await status(world), { table: 'knockd', inSync: false });
    t.equal((await supervisor.stop()).status, 0);

    const again = startTry(world, ['--for', '1m'], env);
    await again.line(trying);
    t.equal((await world.knockd(['confirm'])).status, 0);
    t.equal((await again.ended).status, 0);
    t.equal((await world.knockd(['load'], { env })).status, 0, 'confirmed at last');
  },
);

t.test('in place needs a place to remember, and no supervisor', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, undefined);
  world.write({ services: { ssh } });
  const nowhere = await world.knockd(['try']);
  t.equal(nowhere.status, 1);
  t.match(nowhere.stderr, /name a folder in \$STATE_DIRECTORY, or try a copy/);
  t.equal(await rules(world), '', 'nothing was loaded');
  t.equal(await reach(world), 'open');

  const { world: other, environment } = await supervised(t, { services: { ssh } });
  for (const words of [['try'], ['try', other.configFile]]) {
    const { status: refused, stderr } = await other.knockd(words, { env: environment });
    t.equal(refused, 64);
    t.match(stderr, /cp -p (\S+) \1\.new, and then knockd-nft try \1\.new/);
  }
  const elsewhere = await other.knockd(['try', candidate(other, before)], {
    config: '/etc/x.json',
    env: environment,
  });
  t.equal(elsewhere.status, 64);
  t.match(elsewhere.stderr, /follows another file: knockd-nft --config \S+knockd-nft\.json try FILE/);
});

t.test('a candidate that cannot be tried changes nothing', { skip, buffered: true }, async t => {
  const { world } = await loaded(t, before);
  const was = await rules(world);
  const bad = await world.knockd(['try', candidate(world, { services: { ssh: {} } })]);
  t.equal(bad.status, 78);
  t.match(bad.stderr, /knockd-nft\.json\.new:1:20: /);
  for (const time of ['soon', '0', '366d', ''])
    t.match(
      await world.knockd(['try', world.configFile, '--for', time]),
      { status: 64, stderr: /--for/ },
      time,
    );
  const same = await world.knockd(['try', candidate(world, before)]);
  t.equal(same.status, 0);
  t.match(same.stdout, /^nothing to try: the kernel has these rules already; to keep its text: mv /);
  await world.nft('table inet other { comment "somebody else\'s"; }');
  const foreign = await world.knockd(['try', candidate(world, lockouts['another table'] ?? {})]);
  t.equal(foreign.status, 1);
  t.match(foreign.stderr, /exists and is not ours/);
  await world.nft('delete table inet other');
  t.equal(await rules(world), was);
  t.equal((await world.knockd(['load'])).status, 0, 'and holds nobody up');
});
