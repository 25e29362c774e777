/** One-time tokens on a machine whose clock is set: what was used stays used, and a fresh token of the new time opens. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { until } from './loaded.ts';
import { lacking } from './process.ts';
import { GOOD, token, tokens, tokenWorld } from './token-world.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') || lacking('faketime') };

/** Minutes that the clock is off: when tokens are fed for the first time, and then. Before that first time no token opens. */
const FIRST = -600;
const STEPS = [0, 60, -120, 0] as const;

/** A world whose programs have a clock that `set` sets; the kernel's, and so all time-outs, go on. */
async function clockWorld(t: Test) {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.host('server').listen(22);
  const file = join(world.env.STATE_DIRECTORY, '../clock');
  const { stdout } = spawnSync('faketime', ['-f', '+0', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' });
  const faked = {
    LD_PRELOAD: stdout.trim(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
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
