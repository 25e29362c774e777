/** Clients that the supervisor remembers: who was to be out stays out when it makes the table again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pack } from '../../src/supervisor/clients.ts';
import { readUnfinished, writeUnfinished } from '../../src/supervisor/unfinished.ts';
import { onBoot } from '../boot.ts';
import { GOOD, SECRETS, token, tokens, tokenWorld } from '../kernel/token-world.ts';
import { candidate, startTry, trying } from '../kernel/trying.ts';
import { knocks, skip, ssh, supervised } from './supervised.ts';

/** The supervisor leaves the kernel alone until then, in milliseconds of the epoch. */
function hold(environment: Readonly<Record<string, string>>, until: number): void {
  const path = join(environment.RUNTIME_DIRECTORY ?? '', 'hold');
  writeFileSync(path, JSON.stringify({ reason: 'trying FILE', until }));
}

/** A supervisor whose client has just come in, for half an hour. */
async function visited(t: Test) {
  const all = await supervised(t, { services: { ssh: { ...ssh, openFor: '30m' } } });
  const client = all.world.host('client');
  await all.world.host('server').listen(22);
  await client.knock(all.world.server.ipv4, knocks);
  await all.event('opened');
  return { ...all, client };
}

t.test(
  'a client that is revoked while the supervisor waits long for a trial stays out',
  { skip },
  async t => {
    const { world, supervisor, environment, event, client } = await visited(t);
    hold(environment, Date.now() + 600_000);
    await event('held');
    t.equal((await world.knockd(['revoke', 'ssh', world.client.ipv4], { env: environment })).status, 0);
    await world.nft('flush ruleset');
    hold(environment, Date.now() + 11_000);
    await event('loaded');
    supervisor.signal('SIGHUP');
    await event('unchanged');
    t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  },
);

t.test('unload --force forgets who was in, also if a reload follows', { skip }, async t => {
  const { world, supervisor, environment, event, client } = await visited(t);
  t.equal((await world.knockd(['unload', '--force'], { env: environment })).status, 0);
  await event('held');
  supervisor.signal('SIGHUP');
  await event('loaded');
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  await client.knock(world.server.ipv4, knocks);
  t.equal(await client.connect(world.server.ipv4, 22), 'open', 'until it knocks again');
});

t.test('a user who was removed while the table was gone is out', { skip }, async t => {
  const world = await tokenWorld(t, { clients: ['client', 'other'] });
  await world.host('server').listen(22);
  const supervisor = await world.supervise();
  await world.sendToken('client', token('alice', GOOD));
  await supervisor.line(/"event":"opened"/);
  await world.sendToken('other', token('bob', GOOD));
  await supervisor.line(/"event":"opened"/);
  hold(world.env, Date.now() + 600_000);
  await supervisor.line(/"event":"held"/);
  await world.nft('flush ruleset');
  const { ssh } = tokens.services;
  world.write({ services: { ssh: { ...ssh, tokens: { bob: SECRETS.bob } } } });
  rmSync(join(world.env.RUNTIME_DIRECTORY, 'hold'));
  await supervisor.line(/"event":"loaded"/);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  t.equal(await world.host('other').connect(world.server.ipv4, 22), 'open', 'the others are in');
});

const alice = { alice: [7001, 7003, 7005] };
const both = { ...alice, bob: [7001, 7004, 7006] };
const withUsers = (sequences: object) => ({ services: { ssh: { ports: [22], sequences, openFor: '30m' } } });

/** A supervisor that hears of bob, who comes in during a trial that makes him a user: only the kernel knows him. */
async function unknown(t: Test) {
  const all = await supervised(t, withUsers(alice));
  const { world, environment, event } = all;
  await world.host('server').listen(22);
  const trial = startTry(world, [candidate(world, withUsers(both)), '--for', '10m'], environment);
  await trial.line(trying);
  await event('held');
  const bob = world.host('client');
  await bob.knock(world.server.ipv4, ['7001/tcp', '7004/tcp', '7006/tcp']);
  await event('opened');
  const run = async (...words: string[]) =>
    t.equal((await world.knockd(words, { env: environment })).status, 0, words.join(' '));
  return { ...all, trial, bob, run };
}

t.test('a user whom the supervisor did not know is out once he is revoked by name', { skip }, async t => {
  const { world, supervisor, event, trial, bob, run } = await unknown(t);
  supervisor.signal('SIGSTOP');
  await run('confirm');
  await trial.ended;
  await world.nft('flush ruleset');
  await run('load');
  await run('revoke', 'bob');
  supervisor.signal('SIGCONT');
  await event('(loaded|swapped|unchanged|restored)');
  t.equal(await bob.connect(world.server.ipv4, 22), 'silent');
});

t.test('a user whom the supervisor did not know is out once he is no user', { skip }, async t => {
  const { world, event, trial, bob, run } = await unknown(t);
  await world.nft('flush ruleset');
  await run('undo');
  await trial.ended;
  await event('(loaded|swapped|unchanged|restored)');
  t.equal(await bob.connect(world.server.ipv4, 22), 'silent');
});

t.test('a crowd of an earlier boot is forgotten', async t => {
  const RUNTIME_DIRECTORY = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(RUNTIME_DIRECTORY, { recursive: true }));
  const env = { RUNTIME_DIRECTORY };
  const known = { table: '1', packed: pack([]), seen: 1000, recent: [] };
  onBoot('1', () => writeUnfinished(env, known));
  t.same(
    onBoot('1', () => readUnfinished(env)),
    known,
  );
  t.equal(
    onBoot('2', () => readUnfinished(env)),
    undefined,
  );
});
