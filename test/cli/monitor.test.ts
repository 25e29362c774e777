/** `status` for people and for monitors: it never says that all is well where nothing is guarded. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { windowAt } from '../../src/token/derive.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';
import { until } from '../supervisor/supervised.ts';

const skip = missing('namespaces', 'nft', 'knockd');
const good = { services: { ssh: { ports: [22], sequence: [10000, 2345, 3456, 1234] } } };

async function monitored(t: Test) {
  const run = mkdtempSync(join(tmpdir(), 'knockd-nft-run-'));
  t.teardown(() => rmSync(run, { recursive: true }));
  const env = { RUNTIME_DIRECTORY: run, STATE_DIRECTORY: run };
  const world = await createWorld(t);
  const check = async (status: number, text: RegExp, what: string) => {
    const result = await world.knockd(['status', '--check'], { env });
    t.equal(result.status, status, what);
    t.match(result.stdout, text, what);
    t.match(result.stdout, /^[^\n]+\n$/, 'one line');
    const json = await world.knockd(['status', '--check', '--json'], { env });
    const [line = ''] = result.stdout.trimEnd().split(' | ');
    const [state, ...words] = line.split(': ');
    t.same(JSON.parse(json.stdout), { state, text: words.join(': ') });
    t.equal(json.status, status);
  };
  const load = () => world.knockd(['load'], { env });
  return { world, run, check, load };
}

t.test('a monitor hears OK only if the file is in force and guards something', { skip }, async t => {
  const { world, run, check, load } = await monitored(t);
  world.write(good);
  await check(2, /^CRITICAL: not loaded: nothing is guarded/, 'nothing is loaded');
  await load();
  await check(0, /^OK: 1 service guarded, 0 in/, 'all is well');
  world.write({ ...good, strict: false });
  await check(2, /^CRITICAL: .*not as the configuration says/, 'the file is another one');
  world.write('{');
  await check(2, /^CRITICAL: .*knockd-nft\.json:1:2: /, 'the file cannot be used');
  world.write(good);
  await world.nft('flush chain inet knockd guard_ssh');
  await check(2, /^CRITICAL: .*not as the configuration says/, 'the guard is gone');
  await load();
  await world.nft('add table inet knockd { flags dormant; }');
  await check(2, /^CRITICAL: .*NOTHING IS GUARDED/, 'the table sleeps');
  await world.nft('flush ruleset');
  world.write({ services: {} });
  await load();
  await check(2, /^CRITICAL: .*NOTHING IS GUARDED/, 'there are no services');
  world.write({ ...good, interfaces: ['enp3s0'] });
  await load();
  await check(2, /^CRITICAL: .*NOTHING IS GUARDED/, 'no such interface');
  world.write({ ...good, interfaces: ['enp3s0', 'eth*'] });
  await load();
  await check(0, /^OK/, 'one of the interfaces is here');
  const bridge = 'ip link add br0 type bridge && ip link add port0 master br0 type veth peer name other0';
  t.equal((await world.run('server', 'sh', ['-c', bridge])).status, 0);
  world.write({ ...good, interfaces: ['port0'] });
  await load();
  await check(
    2,
    /^CRITICAL: .*NOTHING IS GUARDED/,
    'what comes in by a port of a bridge comes in by the bridge',
  );
  world.write({ ...good, interfaces: ['eth0', 'port0'] });
  await load();
  await check(1, /^WARNING: .*"port0" is a port of a bridge/, 'the bridge is open');
  writeFileSync(join(run, 'hold'), JSON.stringify({ reason: 'trying x', until: null }));
  await check(1, /^WARNING: held: trying x/, 'held');
  await world.knockd(['unload'], { env: { RUNTIME_DIRECTORY: run } });
  await check(2, /^CRITICAL: not loaded: nothing is guarded/, 'unloaded');
});

t.test(
  'a monitor hears of tokens that end, of what the supervisor cannot do, and of words that mean nothing',
  { skip },
  async t => {
    const { world, run, check, load } = await monitored(t);
    world.write({
      services: { ssh: { ports: [22], tokens: { alice: 'a1'.repeat(32) } } },
      token: { hours: 1 },
    });
    await load();
    const book = join(run, 'tokens.json');
    const record = (change: (ledger: { fed: object }, window: number) => object) => {
      const ledger = JSON.parse(readFileSync(book, 'utf8')) as { fed: object };
      writeFileSync(book, JSON.stringify({ ...ledger, ...change(ledger, windowAt(Date.now())) }));
    };
    const lasting = (minutes: number) =>
      record(({ fed }, window) => ({ fed: { ...fed, until: window + minutes } }));
    await check(0, /^OK: 1 service guarded, 0 in; tokens open from \S+ on/, 'the minutes after a first load');
    const shown = await world.knockd(['status'], {
      env: { RUNTIME_DIRECTORY: run, STATE_DIRECTORY: run },
    });
    t.match(shown.stdout, /^TOKENS: those before \S+ are left out: some may have been used$/m);
    record((_, window) => ({ floor: window + 60 }));
    await check(1, /^WARNING: tokens: the clock was ahead .* so none opens before /, 'an hour');
    record((_, window) => ({ floor: window - 60 }));
    await check(0, /^OK: 1 service guarded, 0 in \|/, 'all are fed');
    lasting(10);
    await check(1, /^WARNING: tokens run out at .*: no new ones are fed/, 'soon');
    lasting(-2);
    await check(2, /^CRITICAL: tokens ran out: no new ones were fed/, 'now');
    const users = Object.fromEntries(
      Array.from({ length: 1000 }, (_, index) => [
        `u${index}`,
        (0x1000 + index).toString(16).padStart(64, 'b'),
      ]),
    );
    world.write({ services: { ssh: { ports: [22], tokens: users } } });
    await load();
    await check(0, /^OK: 1 service guarded/, 'so many that their tokens fit for two hours only');
    world.write(good);
    mkdirSync(join(run, 'events')); // the path of the supervisor's socket
    const supervisor = world.startKnockd(['run'], { RUNTIME_DIRECTORY: run, STATE_DIRECTORY: run });
    await supervisor.line(/events cannot be read/);
    await supervisor.line(/"event":"(swapped|loaded)"/);
    const trouble = () => existsSync(join(run, 'trouble'));
    await until(
      async () => trouble(),
      there => there,
    );
    await check(1, /^WARNING: events cannot be read by other programs: /, 'the supervisor has trouble');
    await supervisor.stop();
    const { status, stdout } = await world.knockd(['status', '--check', '--nagios']);
    t.equal(status, 3, 'a wrong word');
    t.equal(stdout, '');
  },
);

t.test(
  'services without ports are OK if they are loaded, since there is nothing to guard',
  { skip },
  async t => {
    const { world, check, load } = await monitored(t);
    const wake = { ports: [], sequence: [10000, 2345, 3456, 1234] };
    const status = async () => (await world.knockd(['status'])).stdout;
    world.write({ services: { wake } });
    t.match((await load()).stdout, /^loaded: table inet knockd guards 0 services, 1 without ports /);
    await check(0, /^OK: 0 services guarded, 1 service without ports, 0 in/, 'loaded');
    t.match(await status(), /^table inet knockd: as the configuration says\n/);
    t.equal(JSON.parse((await world.knockd(['status', '--json'])).stdout).guarded, null);
    const watch = world.startKnockd(['watch', '--json']);
    t.match(JSON.parse(await watch.line(/./)), { inSync: true, guarded: null });
    await world.nft('add table inet knockd { flags dormant; }');
    t.match(JSON.parse(await watch.line(/"table"/)), { event: 'table', guarded: false });
    await watch.stop();
    await check(2, /^CRITICAL: .*NOTHING IS GUARDED/, 'the table sleeps, so that no knock is seen');
    await world.nft('flush ruleset');
    await check(2, /^CRITICAL: not loaded/, 'another program removed it');
    world.write({ services: { wake }, interfaces: ['enp3s0'] });
    await load();
    await check(2, /^CRITICAL: .*NOTHING IS GUARDED/, 'no knock comes in by the interfaces');
    world.write({ services: { wake }, policy: 'drop' });
    await load();
    await check(0, /^OK: /, 'all other ports are closed');
    t.equal(JSON.parse((await world.knockd(['status', '--json'])).stdout).guarded, true);
  },
);

t.test('a monitor that may not look hears UNKNOWN', { skip }, async t => {
  const { world, load } = await monitored(t);
  const file = world.write(good);
  await load();
  const bare = ['--bounding-set=-net_admin', process.execPath, 'dist/knockd-nft.cjs', '--config', file];
  const { status, stdout, stderr } = await world.run('server', 'setpriv', [...bare, 'status', '--check']);
  t.equal(status, 3);
  t.match(stdout, /^UNKNOWN: not permitted: .*CAP_NET_ADMIN.*\n$/);
  t.equal(stderr, '');
});

t.test('status says in words, and in JSON, that nothing is guarded', { skip }, async t => {
  const { world, load } = await monitored(t);
  const says = async (config: object, guarded: boolean) => {
    world.write(config);
    await load();
    const { status, stdout } = await world.knockd(['status']);
    t.equal(status, 0);
    t.equal(/nothing is guarded/i.test(stdout), !guarded, stdout);
    t.equal(JSON.parse((await world.knockd(['status', '--json'])).stdout).guarded, guarded);
  };
  await says({ services: {} }, false);
  await says({ ...good, interfaces: ['enp3s0'] }, false);
  await says(good, true);
  await says({ ...good, hook: 'prerouting', interfaces: ['eth0'] }, true);
});

t.test('doctor ends with 1 while a guarded port may be open to everybody', { skip }, async t => {
  const { world, load } = await monitored(t);
  const ends = async (status: number, what: string) =>
    t.equal((await world.knockd(['doctor'])).status, status, what);
  world.write(good);
  await ends(1, 'not loaded');
  await load();
  await ends(0, 'loaded');
  await world.nft('flush chain inet knockd guard_ssh');
  await ends(1, 'the guard is gone');
  world.write({ ...good, interfaces: ['enp3s0'] });
  await load();
  await ends(1, 'no such interface');
});

/** As an ordinary user. */
function nobody(world: World, words: readonly string[]) {
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  return world.run('server', 'setpriv', [...user, process.execPath, 'dist/knockd-nft.cjs', ...words]);
}

t.test(
  'a file that this user may not read is 77, with a message that says what is missing',
  {
    skip: skip || (process.getuid?.() !== 0 && 'only root may become another user'),
  },
  async t => {
    const { world } = await monitored(t);
    const file = world.write(good);
    chmodSync(file, 0o600);
    for (const words of [['check'], ['load'], ['render'], ['diff']]) {
      const { status, stdout, stderr } = await nobody(world, ['--config', file, ...words]);
      t.equal(status, 77, words.join());
      t.equal(stdout, '');
      t.match(stderr, /^[^\n]*: not permitted: this user may not read the file \(EACCES\)[^\n]*\n$/);
    }
  },
);
