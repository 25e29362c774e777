/** One-time tokens. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { families, until } from '../kernel/loaded.ts';
import { GOOD, SECRETS, token, tokenWorld } from '../kernel/token-world.ts';
import { command, isShut, opens, PATIENCE, patient, since, t } from './hosts.ts';

const second = await tokenWorld(t, { clients: ['client', 'stranger'] });
for (const port of [22, 80]) await second.host('server').listen(port);
const plain = { services: { ssh: { ports: [22], tokens: SECRETS, ...patient } } };
let used = '';

test('tokens: one opens once, for its sender', async () => {
  await second.load(plain);
  used = token('alice', GOOD);
  for (const [index, family] of families.entries()) {
    const to = second.server[family];
    const good = index === 0 ? used : token('bob', GOOD);
    await isShut(second.host('client'), to, 22);
    await second.sendToken('client', good, family);
    await opens(second.host('client'), to, 22);
    await second.sendToken('stranger', good, family);
    await isShut(second.host('stranger'), to, 22);
  }
  const { opened, repeated } = await second.counted();
  assert.deepEqual([opened, repeated], [2, 2]);
});

test('tokens: two copies at the same instant open once', async () => {
  const good = token('alice', GOOD + 3);
  const { opened } = await second.counted();
  await Promise.all(
    ['client', 'stranger'].map(host =>
      second.host(host).send(
        Array.from({ length: 20 }, () => ({
          protocol: 'udp' as const,
          to: second.server.ipv4,
          port: 62201,
          payload: tokenDatagram(good),
        })),
      ),
    ),
  );
  assert.equal((await second.counted()).opened, opened + 1);
});

test('tokens: a wrong one opens nothing', async () => {
  await command(['revoke', '--all'], second); // either of the two may be in
  const before = await second.counted();
  for (const text of [token('alice', -5), token('alice', GOOD + 4, { realm: 'other' })])
    await second.sendToken('stranger', text);
  await isShut(second.host('stranger'), second.server.ipv4, 22);
  assert.equal((await second.counted()).wrong, before.wrong + 2);
});

test('tokens: a supervisor that starts and is killed forgets no use', async () => {
  const start = async () => {
    const running = second.startKnockd(['run'], second.env);
    await running.line(/"event":"(loaded|unchanged|swapped)"/, PATIENCE);
    return running;
  };
  const one = await start();
  const window = windowAt(Date.now()) + GOOD + 5;
  const seen = token('alice', GOOD + 5);
  await second.sendToken('client', seen);
  await one.line(/"event":"opened"/, PATIENCE);
  const book = join(second.env.STATE_DIRECTORY, 'tokens.json');
  const isWritten = async () => readFileSync(book, 'utf8').includes(String(window));
  await until(isWritten, Boolean, PATIENCE / 1000); // only the next five minutes are left out if a use is not known
  await one.stop('SIGKILL');
  await second.nft('delete table inet knockd');
  const other = await start();
  await command(['revoke', '--all'], second);
  for (const text of [used, seen]) await second.sendToken('stranger', text);
  await isShut(second.host('stranger'), second.server.ipv4, 22);
  await until(
    async () => {
      await second.sendToken('stranger', token('bob', GOOD + 1));
      return (await second.counted()).opened;
    },
    opened => opened > 0,
    PATIENCE / 1000,
  );
  await opens(second.host('stranger'), second.server.ipv4, 22);
  assert.equal((await other.stop()).status, 0);
});

const INNER = [5, 16] as const;
const inData = { ...plain, token: { payload: ['80/tcp'] } };
test('tokens: one in the data of a running connection opens (payload)', {
  skip: !since(INNER) && 'since Linux 5.16',
}, async () => {
  await second.load(inData);
  const good = token('alice', GOOD + 8);
  const connection = await second.host('client').open(second.server.ipv6, 80, { timeout: PATIENCE });
  assert.equal(await connection.send(`GET /knockd-nft/1.......${good} HTTP/1.1`, PATIENCE), 'alive');
  await opens(second.host('client'), second.server.ipv6, 22);
});
test('tokens: payload is refused by name, and what is in force stays', {
  skip: since(INNER) && 'before Linux 5.16',
}, async () => {
  second.write(inData);
  const { status: ended, stderr } = await second.knockd(['load'], { env: second.env, timeout: PATIENCE });
  assert.equal(ended, 1);
  assert.match(stderr, /Linux 5\.16/);
  await isShut(second.host('client'), second.server.ipv6, 22);
});
