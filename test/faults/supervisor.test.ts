/** A few system calls of the supervisor fail once. `npm run test:faults` tries all. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createWorld, missing } from '../kernel/world.ts';
import { ssh, supervised, until } from '../supervisor/supervised.ts';
import { cannotLimit, limitMemory } from './cgroup.ts';
import { foldersOf } from './commands.ts';
import { cannotInject } from './strace.ts';
import { tryRunning, tryStarting } from './supervisor.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();
const FEW = 24;

t.test('if any call of the supervisor fails, the kernel is as the file says soon after', { skip }, t =>
  tryRunning(t, FEW),
);

t.test('if any call fails while the supervisor starts, it guards soon after', { skip }, tryStarting);

/** A script that starts a program whose folders are so. The mounts end with it. */
const folders = (mount: string) =>
  `for D in "$RUNTIME_DIRECTORY" "$STATE_DIRECTORY"; do ${mount}; done; exec "$@"`;
const TROUBLED = {
  'read-only': folders('mount --bind "$D" "$D"; mount -o remount,bind,ro "$D"'),
  full: folders('mount -t tmpfs -o size=4k tmpfs "$D"; head -c 8k /dev/zero >"$D/filler" 2>/dev/null || :'),
};
for (const [what, script] of Object.entries(TROUBLED))
  t.test(
    `a supervisor whose /run and /var/lib are ${what} guards, follows its file, puts the table back, and says so once`,
    { skip },
    async t => {
      const world = await createWorld(t);
      const env = foldersOf(world);
      const write = (port: number) =>
        world.write({ services: { ssh: { ...ssh, ports: [port], openFor: '5m' } }, metrics: true });
      write(22);
      const program = [process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'];
      const supervisor = world.start('server', 'sh', ['-ec', script, 'sh', ...program], { ...env });
      await supervisor.line(/"event":"loaded"/);
      await supervisor.line(/metrics cannot be written/);
      write(80);
      await supervisor.line(/"event":"swapped"/);
      const { status } = await world.knockd(['grant', 'ssh', world.client.ipv4], { env });
      t.equal(status, 0);
      await supervisor.line(/"event":"granted"/);
      await world.nft('flush ruleset');
      await supervisor.line(/"clients":1,"event":"restored"/);
      t.equal((await supervisor.stop()).status, 0);
      t.equal(supervisor.lines().filter(line => line.includes('metrics cannot be written')).length, 1);
    },
  );

const isGuarded = (port: number) => (rules: string) => rules.includes(`tcp . ${port} : goto guard_ssh`);

t.test(
  'a supervisor that has no descriptor left says so, and catches up once it has some again',
  { skip },
  async t => {
    const { world, supervisor, environment: env, event } = await supervised(t, { services: { ssh } });
    const { status } = await world.knockd(['grant', 'ssh', world.client.ipv4, '--for', '10m'], { env });
    t.equal(status, 0);
    await event('granted');
    const pid = String(supervisor.pid);
    const limit = async (most: number | string) => {
      const set = await world.run('server', 'prlimit', ['--pid', pid, `--nofile=${most}:`]);
      if (set.status !== 0) throw new Error(set.stderr);
    };
    const [before = ''] = (
      await world.run('server', 'prlimit', ['--pid', pid, '--nofile', '--noheadings', '-o', 'SOFT'])
    ).stdout.match(/\d+/) ?? [''];
    await limit(3); // open descriptors stay, and there is no new one
    await world.nft('flush ruleset');
    world.write({ services: { ssh: { ...ssh, ports: [80] } } });
    await supervisor.line(/EMFILE.*; trying again/);
    t.notOk(isGuarded(80)(await world.list()));
    await limit(before);
    t.ok(isGuarded(80)(await until(() => world.list(), isGuarded(80))));
    const { stdout } = await world.knockd(['status', '--json'], { env });
    t.match(
      JSON.parse(stdout).services.ssh.clients,
      [{ address: world.client.ipv4 }],
      'the client is in again',
    );
    const told = async () => existsSync(join(env.RUNTIME_DIRECTORY ?? '', 'trouble'));
    t.notOk(await until(told, it => !it), 'nothing is said to be wrong any more');
    t.equal((await supervisor.stop()).status, 0);
  },
);

t.test(
  'a supervisor that the kernel ends for want of memory leaves a whole table, and the next one goes on',
  { skip: skip || cannotLimit() },
  async t => {
    const { world, supervisor, environment: env, event } = await supervised(t, { services: { ssh } });
    const { status } = await world.knockd(['grant', 'ssh', world.client.ipv4, '--for', '10m'], { env });
    t.equal(status, 0);
    await event('granted');
    limitMemory(t, supervisor.pid, 8 * 1024 * 1024);
    const others = Array.from({ length: 1500 }, (_, index) => [
      `other${index}`,
      { ports: [5000 + index], sequence: [20_000 + index, 30_000 + index, 40_000 + index] },
    ]);
    const many = { services: { ssh, ...Object.fromEntries(others) } };
    world.write(many);
    t.equal((await supervisor.ended).status, 128 + 9);
    t.ok(isGuarded(22)(await world.list()));
    t.match(await world.list(), new RegExp(`ssh_clients_ipv4 \\{[^}]*elements = \\{ ${world.client.ipv4} `));
    const next = world.startKnockd(['run'], env);
    await next.line(/"event":"(swapped|unchanged)"/);
    const rules = await world.list();
    t.match(rules, /tcp \. 6499 : goto guard_other1499/);
    t.match(rules, new RegExp(`ssh_clients_ipv4 \\{[^}]*elements = \\{ ${world.client.ipv4} `));
    t.equal((await next.stop()).status, 0);
  },
);
