/** The supervisor, and events of the kernel. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { serviceOf, sshKnocks, status } from '../kernel/loaded.ts';
import type { Running } from '../kernel/process.ts';
import {
  client,
  command,
  isShut,
  knocksOf,
  opens,
  PATIENCE,
  server,
  services,
  stranger,
  world,
} from './hosts.ts';

const folder = dirname(world.configFile);
const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
const guarded = { services: { ssh: services.ssh, admin: services.admin }, log: { refused: true } };
const wider = { ...guarded, services: { ...guarded.services, ssh: { ...services.ssh, ports: [22, 80] } } };
let supervisor: Running;
const event = async (name: string) =>
  JSON.parse(await supervisor.line(new RegExp(`"event":"${name}"`), PATIENCE)) as Readonly<
    Record<string, unknown>
  >;

test('supervisor: it loads, and has each event from then on', async () => {
  for (const path of Object.values(env)) mkdirSync(path, { recursive: true });
  world.write(guarded);
  supervisor = world.startKnockd(['run'], env);
  await event('loaded');
  await isShut(stranger, server.ipv6, 22);
  const refused = await event('refused');
  assert.deepEqual([refused.service, refused.client], ['ssh', world.addresses('stranger').ipv6]);
  await client.knock(server.ipv4, sshKnocks);
  const opened = await event('opened');
  assert.deepEqual([opened.service, opened.client], ['ssh', world.addresses('client').ipv4]);
  await client.knock(server.ipv6, knocksOf.bob);
  const user = await event('opened');
  assert.deepEqual([user.service, user.client, user.user], ['admin', world.addresses('client').ipv6, 'bob']);
});

test('supervisor: it puts back the table after a flush, with the clients that are in', async () => {
  await world.nft('flush ruleset');
  await event('restored');
  assert.equal((await status(world)).inSync, true);
  assert.deepEqual((await serviceOf(world, 'admin')).clients, [`${world.addresses('client').ipv6} bob`]);
  await opens(client, server.ipv4, 22);
  await isShut(stranger, server.ipv4, 22);
});

test('supervisor: it follows the file', async () => {
  world.write(wider);
  await event('swapped');
  await isShut(stranger, server.ipv4, 80);
});

test('supervisor: a swap under packets opens nothing on its way', async () => {
  let isSwapped = false;
  const attempts = (async () => {
    const answers: string[] = [];
    while (!isSwapped) answers.push(await stranger.connect(server.ipv4, 22, { timeout: 100 }));
    return answers;
  })();
  world.write({ ...wider, services: { ...wider.services, once: services.once } });
  await event('swapped');
  isSwapped = true;
  assert.deepEqual([...new Set(await attempts)], ['silent']);
});

test('supervisor: watch tells of an opening from its first line on', async () => {
  const watch = world.startKnockd(['watch', '--interval', '1h', '--json'], env);
  await watch.line(/"event":"status"/, PATIENCE);
  await stranger.knock(server.ipv4, knocksOf.once);
  await watch.line(/"service":"once".*"event":"opened"/, PATIENCE);
  await watch.stop();
});

test('loader: with a file that is not valid, a boot loads the last good one', async () => {
  assert.equal((await supervisor.stop()).status, 0);
  await world.nft('flush ruleset');
  world.write('{');
  const {
    status: ended,
    stdout,
    stderr,
  } = await world.knockd(['load', '--last-good'], { env, timeout: PATIENCE });
  assert.equal(ended, 0, `${stdout}${stderr}`);
  await isShut(stranger, server.ipv4, 22);
  world.write(wider);
  supervisor = world.startKnockd(['run'], env);
  await event('(loaded|swapped|unchanged)');
});

test('supervisor: it stops, and the table stays', async () => {
  const { status: ended } = await supervisor.stop();
  assert.equal(ended, 0);
  await isShut(stranger, server.ipv4, 22);
  await client.knock(server.ipv4, sshKnocks);
  await opens(client, server.ipv4, 80);
  await command(['unload']);
});
