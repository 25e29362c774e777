/** A load, swaps, commands by hand, and what packets meet then. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { families, load, serviceOf, sshKnocks, status, until } from '../kernel/loaded.ts';
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

const accepts = (text: string) => world.run('server', 'nft', ['-c', '-f', '-'], { input: text });

let session = await world
  .host('server')
  .listen(22)
  .then(() => client.open(server.ipv4, 22, { timeout: PATIENCE }));
for (const port of [8443, 9000, 9100, 80]) await world.host('server').listen(port);
for (const port of [53, 9101]) await world.host('server').listen(port, { protocol: 'udp' });

const alive = async () => assert.equal(await session.send('hi', PATIENCE), 'alive', 'the running connection');

test('loader: doctor misses nothing of the kernel', async () => {
  world.write({ services });
  const { stdout } = await world.knockd(['doctor', '--json'], { timeout: PATIENCE });
  const kernel = (JSON.parse(stdout).findings as { id: string }[]).filter(({ id }) =>
    id.startsWith('kernel'),
  );
  assert.deepEqual(kernel, []);
});

test('loader: the first load, with a connection that runs', async t => {
  world.write({ services: { ssh: { ...services.ssh, openFor: '10s' } } });
  t.diagnostic(await command(['load']));
  await alive();
});

for (const family of families)
  test(`data plane: shut, open by knocks, and shut after openFor, ${family}`, async () => {
    const to = server[family];
    await isShut(client, to, 22);
    await client.knock(to, sshKnocks.slice(0, 3));
    await isShut(client, to, 22);
    await client.knock(to, sshKnocks);
    await opens(client, to, 22);
    await isShut(stranger, to, 22);
    await until(
      async () => (await serviceOf(world, 'ssh')).clients.length,
      left => left === 0,
    );
    await isShut(client, to, 22);
    await alive();
  });

test('loader: a swap to five services, while a connection goes on', async t => {
  world.write({ services });
  t.diagnostic(await command(['load']));
  await alive();
});

for (const family of families) {
  const to = server[family];
  test(`data plane: two users, ${family}`, async () => {
    await isShut(client, to, 8443);
    await client.knock(to, knocksOf.alice);
    await opens(client, to, 8443);
    await stranger.knock(to, knocksOf.bob);
    await opens(stranger, to, 8443);
  });
  test(`data plane: a UDP service, by knocks of both protocols, ${family}`, async () => {
    assert.equal(await client.udp(to, 53, 'q', { timeout: 1000 }), 'silent');
    await client.knock(
      to,
      knocksOf.dns.map(knock => knock.replace('tcp', 'udp')),
    );
    assert.equal(await client.udp(to, 53, 'q', { timeout: 1000 }), 'silent', 'by UDP alone');
    await client.knock(to, knocksOf.dns);
    assert.equal(await client.udp(to, 53, 'q', { timeout: PATIENCE }), 'q');
  });
  test(`data plane: an opening for one connection, ${family}`, async () => {
    await client.knock(to, knocksOf.once);
    await opens(client, to, 9000);
    await isShut(client, to, 9000);
  });
  test(`data plane: a port that refuses, ${family}`, async () => {
    assert.equal(await client.connect(to, 9100, { timeout: PATIENCE }), 'refused');
    assert.equal(await client.udp(to, 9101, 'q', { timeout: PATIENCE }), 'refused');
    await client.knock(to, knocksOf.shy);
    await opens(client, to, 9100);
    assert.equal(await client.udp(to, 9101, 'q', { timeout: PATIENCE }), 'q');
  });
  test(`data plane: a packet to a closed port puts a client back, one to a listener does not, ${family}`, async () => {
    const between = (knock: string) => [...sshKnocks.slice(0, 3), knock, ...sshKnocks.slice(3)];
    await client.knock(to, between('80/tcp'));
    await opens(client, to, 22);
    await stranger.knock(to, between('81/tcp'));
    await isShut(stranger, to, 22);
  });
}

test('loader: status names clients and users, and counts', async () => {
  const { inSync, services: found } = await status(world);
  const who = (host: string, user: string) =>
    families.map(family => `${world.addresses(host)[family]} ${user}`);
  assert.deepEqual(
    (await serviceOf(world, 'admin')).clients,
    [...who('client', 'alice'), ...who('stranger', 'bob')].sort(),
  );
  assert.equal(inSync, true);
  assert.deepEqual([found.ssh?.opened, found.dns?.opened, found.once?.accepted], [4, 2, 2]);
  await command(['diff']);
});

test("loader: nft reads its own listing of the table, and render's text", async () => {
  for (const text of [await world.list(), await command(['render'])]) {
    const { status, stderr } = await accepts(text);
    assert.equal(status, 0, stderr.slice(0, 1000));
  }
});

test('loader: sets get another size, and clients that are in stay in', async t => {
  world.write({
    services: { ...services, ssh: { ...services.ssh, openFor: '31m' } },
    limits: { progress: 1000, clients: 500 },
  });
  t.diagnostic(await command(['load']));
  assert.equal((await status(world)).inSync, true);
  assert.deepEqual(
    [(await serviceOf(world, 'admin')).clients.length, (await serviceOf(world, 'ssh')).clients.length],
    [4, 2],
  );
  assert.match(await world.list(), /size 500\b/);
  await alive();
});

test('loader: grant and revoke', async () => {
  const { ipv4 } = world.addresses('stranger');
  await command(['grant', 'ssh', ipv4, '--for', '1h']);
  await opens(stranger, server.ipv4, 22);
  await command(['revoke', 'ssh', ipv4]);
  await isShut(stranger, server.ipv4, 22);
});

test('loader: revoke --cut ends running connections', async () => {
  for (const family of families) {
    const running = await client.open(server[family], 22, { timeout: PATIENCE });
    assert.equal(await running.send('a', PATIENCE), 'alive');
    await command(['revoke', '--cut', world.addresses('client')[family]]);
    assert.equal(await running.send('b', 3000), 'dead', family);
  }
});

test('loader: a trial is undone after its time', async () => {
  const candidate = `${world.configFile}.new`;
  writeFileSync(candidate, JSON.stringify({ services: { ssh: { ...services.ssh, ports: [22, 23] } } }), {
    mode: 0o640,
  });
  const {
    status: ended,
    stdout,
    stderr,
  } = await world.knockd(['try', candidate, '--for', '8s'], { timeout: PATIENCE });
  assert.equal(ended, 1, `${stdout}${stderr}`);
  assert.deepEqual((await status(world)).services.ssh?.ports, ['22/tcp']);
});

test('loader: without the module tcp_diag a load keeps connections, and --cut names it', async t => {
  const lack = '/etc/modprobe.d/lack.conf';
  mkdirSync(dirname(lack), { recursive: true });
  await command(['unload']);
  writeFileSync(lack, 'install tcp_diag /bin/false\n');
  const gone = spawnSync('rmmod', ['tcp_diag'], { encoding: 'utf8' });
  try {
    if (gone.status !== 0) return t.skip(`the module cannot be taken out: ${gone.stderr.trim()}`);
    session = await client.open(server.ipv4, 22, { timeout: PATIENCE });
    world.write({ services });
    await command(['load']);
    await alive();
    await isShut(stranger, server.ipv4, 22);
    const { status: ended, stderr } = await world.knockd(['revoke', '--all', '--cut'], { timeout: PATIENCE });
    assert.equal(ended, 1);
    assert.match(stderr, /lacks the module tcp_diag/);
    const { stdout } = await world.knockd(['doctor'], { timeout: PATIENCE });
    assert.match(stdout, /modprobe -a tcp_diag/);
  } finally {
    writeFileSync(lack, '');
  }
});

test('loader: unload opens all', async () => {
  world.write({ services });
  await command(['load']);
  await isShut(stranger, server.ipv4, 22);
  await command(['unload']);
  await opens(stranger, server.ipv4, 22);
});

test('data plane: a whole firewall (policy drop)', async () => {
  await load(world, { policy: 'drop', services: { ssh: services.ssh }, public: [8443] });
  for (const family of families) {
    const to = server[family];
    for (const port of [22, 80]) await isShut(stranger, to, port);
    await opens(stranger, to, 8443);
    await stranger.knock(to, sshKnocks);
    await opens(stranger, to, 22);
    await isShut(stranger, to, 80);
  }
});

test('data plane: a published port of a container is guarded (prerouting)', async () => {
  await world.host('container').listen(80);
  await world.publish(8080, 80);
  const web = { ...services.once, singleUse: false, ports: [8080] };
  await load(world, { hook: 'prerouting', services: { web, shy: services.shy } });
  for (const family of families) {
    const to = server[family];
    await isShut(client, to, 8080);
    assert.equal(await client.connect(to, 9100, { timeout: PATIENCE }), 'refused');
    await client.knock(to, knocksOf.once);
    await opens(client, to, 8080);
    await isShut(stranger, to, 8080);
  }
  await command(['unload']);
});
