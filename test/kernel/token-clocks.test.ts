/** One-time tokens on a machine whose clock is set: what was used stays used, and a fresh token of the new time opens. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { until } from './loaded.ts';
import { lacking } from './process.ts';
import { GOOD, type TokenWorld, token, tokens, tokenWorld } from './token-world.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') || lacking('faketime') };

/** Minutes that the clock is off: when tokens are fed for the first time, and then. Before that first time no token opens. */
const FIRST = -600;
const STEPS = [0, 60, -120, 0] as const;

/**
 * A world whose programs have a clock that `set` sets; the kernel's, and so all time-outs, go on. With `monotonic` the clock that
 * nobody can set moves along: time passes.
 */
async function clockWorld(t: Test, { monotonic = false } = {}) {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.host('server').listen(22);
  const file = join(world.env.STATE_DIRECTORY, '../clock');
  const { stdout } = spawnSync('faketime', ['-f', '+0', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' });
  const faked = {
    LD_PRELOAD: stdout.trim(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    ...(!monotonic && { FAKETIME_DONT_FAKE_MONOTONIC: '1' }),
    NO_FAKE_STAT: '1',
  };
  const set = (minutes: number) => writeFileSync(file, `${minutes < 0 ? '' : '+'}${minutes * 60}\n`);
  set(FIRST);
  return { world, set, env: { ...world.env, ...faked } };
}

t.test('a clock that is set before each load', needs, async t => {
  const { world, set, env } = await clockWorld(t);
  const load = async () => {
    const { status, stderr } = await world.knockd(['load'], { env });
    t.equal(status, 0, stderr);
  };
  world.write(tokens);
  await load();
  const used = [token('alice', FIRST + GOOD)];
  t.ok(await world.opens('client', used[0] ?? ''));
  for (const minutes of STEPS) {
    set(minutes);
    await load();
    for (const one of used) t.notOk(await world.opens('stranger', one), `${minutes} minutes: a used one`);
    const fresh = token('bob', minutes + GOOD + used.length);
    t.ok(await world.opens('client', fresh), `${minutes} minutes: a fresh one`);
    used.push(fresh);
    await world.nft('flush set inet knockd ssh_clients_ipv4');
  }
});

t.test('a clock that is set while the supervisor runs', needs, async t => {
  const { world, set, env } = await clockWorld(t);
  world.write(tokens);
  const supervisor = world.startKnockd(['run'], env);
  await supervisor.line(/"event":"loaded"/);
  const used = [token('alice', FIRST + GOOD)];
  t.ok(await world.opens('client', used[0] ?? ''));
  for (const minutes of STEPS) {
    set(minutes);
    await world.nft('flush set inet knockd ssh_clients_ipv4');
    // of this very minute, or the next: nothing is unknown to who watches
    const ahead = minutes + 1 + 2 * used.length;
    const opened = await until(
      () => world.opens('client', token('bob', ahead)),
      opens => opens,
      10,
    );
    t.ok(opened, `${minutes} minutes: a fresh one`);
    used.push(token('bob', ahead));
    for (const one of used) t.notOk(await world.opens('stranger', one), `${minutes} minutes: a used one`);
  }
  await supervisor.stop();
});

/** Few are quickly listed, and after a long pause none of them is of the present. */
const short = { ...tokens, token: { hours: 1 } };

/** A token stands ready in the kernel. */
async function isReady(world: TokenWorld, one: string): Promise<boolean> {
  const { stdout } = await world.run('server', 'nft', ['list', 'map', 'inet', 'knockd', 'tokens']);
  return stdout.includes(Buffer.from(one).toString('hex'));
}

async function nobodyIsIn(world: TokenWorld): Promise<void> {
  await world.nft('flush set inet knockd ssh_clients_ipv4');
}

/** While a machine sleeps no process runs, and neither the kernel's time-outs nor its clock go on: only the time of day does. */
t.test('a machine that slept: no token of before opens any more once the supervisor runs', needs, async t => {
  const { world, set, env } = await clockWorld(t);
  world.write(short);
  const supervisor = world.startKnockd(['run'], env);
  await supervisor.line(/"event":"loaded"/);
  let now = FIRST + GOOD;
  const used: string[] = [];
  for (const pause of [20, 180]) {
    const [last = '', atWaking = '', ...missed] = [0, 1, 2, 3, 17].map(ahead => token('bob', now + ahead));
    const own = token('alice', now + 1);
    await until(() => isReady(world, last), Boolean);
    t.ok(await world.opens('client', own), 'a token is used');
    t.ok(await world.opens('client', last), 'and another one');
    supervisor.signal('SIGSTOP');
    used.push(own, last);
    await nobodyIsIn(world);

    now += pause;
    set(now);
    t.ok(
      await world.opens('stranger', atWaking),
      'the kernel knows no time of day: until the supervisor runs',
    );
    await nobodyIsIn(world);
    const start = performance.now();
    supervisor.signal('SIGCONT');
    await until(
      () => isReady(world, missed[0] ?? ''),
      ready => !ready,
    );
    t.comment(`${pause} minutes: gone ${Math.round(performance.now() - start)} ms later`);
    const fresh = token('bob', now);
    t.ok(await world.opens('client', fresh), 'one of the present');
    t.comment(`${Math.round(performance.now() - start)} ms later, in with one of the present`);
    for (const one of [...missed, atWaking, ...used])
      t.notOk(await world.opens('stranger', one), 'one of before');
    used.push(fresh);
    await nobodyIsIn(world);
    now += 3; // the two before a used one are used up
    set(now);
    await until(() => isReady(world, token('bob', now)), Boolean);
  }
  await supervisor.stop();
});

t.test('a supervisor that was frozen for a minute goes on where it was', needs, async t => {
  const { world, set, env } = await clockWorld(t, { monotonic: true });
  world.write(short);
  const supervisor = world.startKnockd(['run'], env);
  await supervisor.line(/"event":"loaded"/);
  const now = FIRST + GOOD;
  const used = token('alice', now);
  const id = (await world.list()).match(/[0-9a-fx]+ : 0x00000000/)?.[0];
  t.ok(id);
  const farthest = token('bob', FIRST + 62);
  await until(() => isReady(world, farthest), Boolean);
  supervisor.signal('SIGSTOP');
  t.ok(await world.opens('client', used), 'used while nobody looks');
  set(FIRST + 2);
  supervisor.signal('SIGCONT');
  await until(() => isReady(world, token('bob', FIRST + 64)), Boolean);
  t.notOk(await world.opens('stranger', used));
  t.match(await world.list(), id, 'what was there was not taken out in between');
  await world.nft('flush map inet knockd tokens');
  await until(() => isReady(world, farthest), Boolean);
  t.notOk(await world.opens('stranger', used), 'also where all is fed anew');
  t.ok(await world.opens('stranger', token('bob', now)), 'a fresh one');
  await supervisor.stop();
});

t.test('if nobody feeds tokens, status says so before they end, and when they have ended', needs, async t => {
  const { world, set, env } = await clockWorld(t);
  world.write({ ...tokens, token: { hours: 3 } });
  t.match(await world.knockd(['load'], { env }), { status: 0 });
  for (const [minutes, says] of [
    [60, []],
    [70, [/^no new ones were fed for (70|71) minutes: the last ends at .*Z$/]],
    [190, ['they ran out: no new ones were fed']],
  ] as const) {
    set(FIRST + minutes);
    const { stdout, stderr } = await world.knockd(['status', '--json'], { env });
    const { trouble } = JSON.parse(stdout).tokens;
    t.equal(trouble.length, says.length, `${trouble} ${stderr}`);
    t.match(trouble, says);
  }
});
