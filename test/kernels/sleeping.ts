/** A machine that sleeps. The kernel's own time-outs, and so openings, stand still meanwhile; tokens belong to the clock on the wall. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { serviceOf, until } from '../kernel/loaded.ts';
import { GOOD, SECRETS, token, tokenWorld } from '../kernel/token-world.ts';
import { t as ends, isShut, opens, PATIENCE, patient } from './hosts.ts';

/** How long it sleeps, in seconds. */
const NAP = 20;
const ALARM = '/sys/class/rtc/rtc0/wakealarm';
const STATES = '/sys/power/state';

/** Sleeps until the clock of the machine wakes it; returns why it did not, or undefined. */
function sleep(): string | undefined {
  if (!existsSync(ALARM) || !existsSync(STATES))
    return 'this kernel cannot sleep here, or has no clock to wake it';
  const state = ['freeze', 'mem'].find(name => readFileSync(STATES, 'utf8').split(/\s+/).includes(name));
  if (state === undefined) return 'this kernel cannot sleep here';
  const [before, awake] = [Date.now(), performance.now()];
  writeFileSync(ALARM, `+${NAP}`);
  const { status, stderr } = spawnSync('sh', ['-c', `echo ${state} >${STATES}`], { encoding: 'utf8' });
  if (status !== 0) return stderr.trim();
  const slept = Date.now() - before - (performance.now() - awake);
  return slept < (NAP / 2) * 1000 ? `it slept for ${Math.round(slept)} ms` : undefined;
}

test('sleep: openings stand still, tokens end with their minutes, and the supervisor goes on', async t => {
  const world = await tokenWorld(ends, { clients: ['client', 'stranger'] });
  const { ipv4 } = world.server;
  await world.host('server').listen(22);
  const secrets = { services: { ssh: { ports: [22], tokens: SECRETS, ...patient } } };
  const supervisor = await world.supervise(secrets);
  await world.sendToken('client', token('alice', GOOD));
  await opens(world.host('client'), ipv4, 22);
  const later = Buffer.from(token('alice', GOOD + 20)).toString('hex');
  /** When a token of a later minute goes out of the kernel, in milliseconds of the epoch. */
  const end = async () => {
    const { stdout } = await world.run('server', 'nft', ['list', 'map', 'inet', 'knockd', 'tokens']);
    const text = new RegExp(`0x0*${later}[^,]* expires (\\S+)`).exec(stdout)?.[1] ?? '';
    const units = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
    const parts = [...text.matchAll(/(\d+)(ms|[dhms])/g)];
    assert.ok(parts.length > 0, `the token is in the kernel: ${stdout.slice(0, 500)}`);
    return (
      Date.now() +
      parts.reduce((sum, [, count, unit]) => sum + Number(count) * units[unit as keyof typeof units], 0)
    );
  };
  const before = await end();
  const why = sleep();
  if (why !== undefined) return t.skip(why);
  await opens(world.host('client'), ipv4, 22);
  await isShut(world.host('stranger'), ipv4, 22);
  await until(end, after => Math.abs(after - before) < (NAP / 2) * 1000, PATIENCE / 1000);
  await world.sendToken('stranger', token('bob', GOOD + 1));
  await opens(world.host('stranger'), ipv4, 22);
  await world.nft('flush ruleset');
  await supervisor.line(/"event":"restored"/, PATIENCE);
  const { ipv4: client } = world.addresses('client');
  assert.ok((await serviceOf(world, 'ssh')).clients.includes(`${client} alice`));
  assert.equal((await supervisor.stop()).status, 0);
});
