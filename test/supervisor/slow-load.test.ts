/** Loads that take their time, and what comes in between. */
import {
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { HUNG } from '../kernel/process.ts';
import { candidate, startTry, trying } from '../kernel/trying.ts';
import { type Supervised, skip, ssh, supervised, until } from './supervised.ts';

/** So many that a load reads, compiles and compares them for much longer than a test takes to notice it. */
const many = Object.fromEntries(
  Array.from({ length: 400 }, (_, index) => [
    `other${index}`,
    { ports: [5000 + index], sequence: [20_000 + index, 30_000 + index, 40_000 + index] },
  ]),
);

const threads = (pid: number) => readdirSync(`/proc/${pid}/task`).length;

function sockets(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  const targets = readdirSync(folder).map(name => {
    try {
      return readlinkSync(join(folder, name));
    } catch {
      return ''; // closed meanwhile
    }
  });
  return targets.filter(target => target.startsWith('socket:')).length;
}

/** The value, once it has stayed the same for a second. */
async function settled(look: () => number): Promise<number> {
  for (let last = look(), same = 0; ; await delay(50)) {
    const now = look();
    same = now === last ? same + 1 : 0;
    last = now;
    if (same >= 20) return now;
  }
}

/** Looks all the time, since what it waits for is soon over. */
async function soon(isSo: () => boolean): Promise<void> {
  for (const end = performance.now() + HUNG; !isSo(); await delay(1))
    if (performance.now() > end) throw new Error('it does not come');
}

async function confirmedDuringLoad(t: Test, supervised: Supervised, ours: object): Promise<void> {
  const { world, supervisor, environment, event } = supervised;
  const monitor = world.start('server', 'nft', ['monitor', 'chains']);
  const { pid } = supervisor;
  const before = await settled(() => sockets(pid)); // the thread of the first load is gone
  world.write({ services: { ssh: ours, ...many } });
  await soon(() => sockets(pid) > before); // the file is read by then, and the kernel is next
  supervisor.signal('SIGSTOP');
  const tried = { services: { ssh: ours, web: { ports: [8080], sequence: [7001, 7003, 7005] } } };
  const trial = startTry(world, [candidate(world, tried), '--for', '5m'], environment);
  await trial.line(trying);
  const confirmed = await world.knockd(['confirm', '--force'], { env: environment });
  t.equal(confirmed.status, 0, confirmed.stderr);
  supervisor.signal('SIGCONT');
  await event('unchanged');
  t.same(JSON.parse(readFileSync(world.configFile, 'utf8')), tried, 'the file');
  const diff = await world.knockd(['diff']);
  t.equal(`${diff.status}${diff.stderr}`, '0', 'the kernel');
  await monitor.line(/guard_web/);
  t.notMatch(monitor.lines().join('\n'), /guard_other/, 'at any time');
  t.notMatch(supervisor.lines().join('\n'), /trying again/, 'nor does anything fail');
}

t.test(
  'a trial that begins and is confirmed during a load stays in force: the load never comes after it',
  { skip },
  async t => confirmedDuringLoad(t, await supervised(t, { services: { ssh } }), ssh),
);

t.test(
  'so does one of a configuration that names a secret on a file system that may hang',
  { skip },
  async t => {
    const all = await supervised(t, { services: { ssh } });
    const secret = join(dirname(all.world.configFile), 'bob');
    writeFileSync(secret, 'b0'.repeat(32), { mode: 0o600 });
    const ours = { ...ssh, tokens: { bob: { file: `/proc/self/root${secret}` } } };
    all.world.write({ services: { ssh: ours } });
    await all.event('swapped');
    await confirmedDuringLoad(t, all, ours);
  },
);

t.test(
  'a file on this machine that takes long to be read is waited for, also if the table is removed meanwhile',
  { skip },
  async t => {
    const { world, supervisor, event } = await supervised(t, { services: { ssh } }, true);
    const before = await settled(() => threads(supervisor.pid));
    world.write(`${' '.repeat(7 * 1024 * 1024)}${JSON.stringify({ services: { ssh, ...many } })}`);
    await soon(() => threads(supervisor.pid) > before);
    await world.nft('flush ruleset');
    await event('swapped|loaded');
    t.notMatch(supervisor.lines().join('\n'), /does not answer/);
  },
);

/** Ways to change a secret `bob` in a folder. The second is that of managers of secrets, whose files are older than the switch. */
const CHANGES: Readonly<Record<string, (folder: string) => void>> = {
  'is written': folder => writeFileSync(join(folder, 'bob'), 'b1'.repeat(32), { mode: 0o600 }),
  'is switched by a link': folder => {
    symlinkSync('newer', join(folder, 'link'));
    renameSync(join(folder, 'link'), join(folder, 'bob'));
  },
};
for (const [what, change] of Object.entries(CHANGES))
  t.test(
    `a secret that ${what} while the file is loaded that first names it counts, too`,
    { skip },
    async t => {
      const { world, supervisor, event } = await supervised(t, { services: { ssh } });
      const folder = dirname(world.configFile);
      writeFileSync(join(folder, 'older'), 'b0'.repeat(32), { mode: 0o600 });
      writeFileSync(join(folder, 'newer'), 'b1'.repeat(32), { mode: 0o600 });
      symlinkSync('older', join(folder, 'bob'));
      const before = await settled(() => sockets(supervisor.pid));
      world.write({ services: { ssh: { ...ssh, tokens: { bob: { file: 'bob' } } }, ...many } });
      await soon(() => sockets(supervisor.pid) > before); // it was read
      change(folder);
      await event('swapped');
      await event('swapped');
      const diff = await world.knockd(['diff']);
      t.equal(`${diff.status}${diff.stderr}`, '0');
    },
  );

t.test(
  'a load that is held between two of its transactions waits for the end of the hold, and has not failed',
  { skip },
  async t => {
    const services = { ssh, ...many };
    const { world, supervisor, environment, event } = await supervised(t, { services });
    const { pid } = supervisor;
    const monitor = world.start('server', 'nft', ['monitor', 'chains']);
    await until(
      async () => {
        await world.nft('add table inet others; add chain inet others begins; delete table inet others');
        return monitor.lines().length;
      },
      heard => heard > 0,
    );
    const before = await settled(() => threads(pid));
    world.write({ services, priority: 5 });
    await monitor.line(/aside/);
    const hold = join(environment.RUNTIME_DIRECTORY ?? '', 'hold');
    writeFileSync(hold, JSON.stringify({ reason: 'by hand', until: null }));
    await event('held');
    await until(
      async () => threads(pid),
      now => now === before,
    );
    t.match(await world.list(), /chain aside/, 'it stands between two transactions');
    t.equal((await world.knockd(['status'], { env: environment })).stderr, '', 'without any trouble');
    rmSync(hold);
    await event('swapped');
    const diff = await world.knockd(['diff']);
    t.equal(`${diff.status}${diff.stderr}`, '0', 'then all is as the file says');
    t.notMatch(supervisor.lines().join('\n'), /trying again/);
  },
);
