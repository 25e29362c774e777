/** The machine sleeps (suspend to RAM), and its own clock wakes it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { monotonic } from '../../src/host/clock.ts';
import { until } from '../kernel/loaded.ts';
import { GOOD, SECRETS, token, tokenWorld } from '../kernel/token-world.ts';
import { isShut, opens, PATIENCE, patient, t } from './hosts.ts';

const POWER = '/sys/power/state';
const ALARM = '/sys/class/rtc/rtc0/wakealarm';
/** How long an emulated machine may take to fall asleep, in seconds: its alarm runs already. */
const FALLS_ASLEEP = 30;
/** Lighter ways to sleep do not stop the kernel's clocks. */
const cannotSleep =
  !(existsSync(ALARM) && readFileSync('/sys/power/mem_sleep', 'utf8').includes('deep')) &&
  'this machine has no deep sleep';

/** Returns the time that the machine slept. In seconds. */
function sleep(seconds: number): number {
  const before = Date.now() - monotonic();
  writeFileSync(ALARM, `+${Math.ceil(seconds)}`);
  writeFileSync(POWER, 'mem'); // returns when the machine is awake
  return (Date.now() - monotonic() - before) / 1000;
}

test('sleep: tokens are those of the present soon after, a used one stays used, and other time-outs go on', {
  skip: cannotSleep,
}, async () => {
  const third = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await third.host('server').listen(22);
  await third.loadFresh({
    services: { ssh: { ports: [22], tokens: SECRETS, ...patient } },
    token: { hours: 1 },
  });
  /** Seconds until the kernel takes the element out; undefined where it is not there. */
  const leftOf = async (kind: 'map' | 'set', name: string, element: string) => {
    const words = ['-j', 'list', kind, 'inet', 'knockd', name];
    const { stdout } = await third.run('server', 'nft', words, { timeout: PATIENCE });
    const left = new RegExp(`"${element}"[^}]*"expires": (\\d+)`).exec(stdout)?.[1];
    return left === undefined ? undefined : Number(left);
  };
  const leftOfToken = (text: string) => leftOf('map', 'tokens', `0x${Buffer.from(text).toString('hex')}`);
  const supervisor = third.startKnockd(['run'], third.env);
  await supervisor.line(/"event":"(loaded|unchanged|swapped)"/, PATIENCE);
  const used = token('alice', 2);
  await third.sendToken('client', used);
  await supervisor.line(/"event":"opened"/, PATIENCE);
  const session = await third.host('client').open(third.server.ipv4, 22, { timeout: PATIENCE });
  const client = third.addresses('client').ipv4;

  const old = token('bob', 0);
  const leftOfOld = await leftOfToken(old);
  const leftOfClient = await leftOf('set', 'ssh_clients_ipv4', client);
  assert.ok(leftOfOld !== undefined && leftOfClient !== undefined, `${leftOfOld}, ${leftOfClient}`);
  const fellAsleep = monotonic();
  const slept = sleep(leftOfOld + FALLS_ASLEEP);
  assert.ok(slept >= leftOfOld, `slept ${slept} s`);
  await until(
    () => leftOfToken(old),
    left => left === undefined,
    PATIENCE / 1000,
  );
  const awake = (monotonic() - fellAsleep) / 1000;
  assert.ok(awake < leftOfOld, 'the supervisor took it out; its own time-out would have come later');

  const still = await leftOf('set', 'ssh_clients_ipv4', client);
  assert.ok(
    still !== undefined && still > leftOfClient - slept,
    `${leftOfClient} s before, ${still} s after`,
  );
  assert.equal(await session.send('awake again', PATIENCE), 'alive');
  for (const text of [used, old]) await third.sendToken('stranger', text);
  await isShut(third.host('stranger'), third.server.ipv4, 22);
  await third.sendToken('stranger', token('bob', GOOD)); // those of the minutes after a first load are left out
  await opens(third.host('stranger'), third.server.ipv4, 22);
  assert.equal((await supervisor.stop()).status, 0);
});
