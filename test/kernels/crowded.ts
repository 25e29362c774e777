/** A full table of connections, which only a whole machine can have, and addresses in a VRF, which few kernels have. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { load, serviceOf, sshKnocks } from '../kernel/loaded.ts';
import { client, command, isShut, opens, PATIENCE, server, services, stranger, world } from './hosts.ts';

const MAX = '/proc/sys/net/netfilter/nf_conntrack_max';

test('attack: where the table of connections is full nothing opens, and connections go on', async () => {
  const { close } = await world.host('server').listen(4443);
  await load(world, { services: { ssh: { ...services.ssh, ports: [4443] } } });
  await client.knock(server.ipv4, sshKnocks);
  const session = await client.open(server.ipv4, 4443, { timeout: PATIENCE });
  assert.equal(await session.send('hi', PATIENCE), 'alive');
  await command(['revoke', '--all']);
  const max = readFileSync(MAX, 'utf8');
  writeFileSync(MAX, '1');
  try {
    await isShut(stranger, server.ipv4, 4443);
    assert.equal(
      await stranger.connect(server.ipv4, 4),
      'silent',
      'the control: not even a closed port answers',
    );
    await client.knock(server.ipv4, sshKnocks);
    await isShut(client, server.ipv4, 4443);
    assert.equal((await serviceOf(world, 'ssh')).opened, 1, 'and no knock counts');
    assert.equal(await session.send('hi', PATIENCE), 'alive', 'the running connection');
  } finally {
    writeFileSync(MAX, max);
  }
  await isShut(stranger, server.ipv4, 4443);
  await client.knock(server.ipv4, sshKnocks);
  await opens(client, server.ipv4, 4443);
  await close();
  await command(['unload']);
});

test('attack: an address in a VRF is guarded at both hooks', async t => {
  const ip = async (host: string, ...lines: readonly string[]) => {
    for (const line of lines) {
      const { status, stderr } = await world.run(host, 'ip', line.split(' '));
      if (status !== 0) return `${line}: ${stderr.trim()}`;
    }
    return undefined;
  };
  const why =
    (await ip(
      'server',
      'link add red type vrf table 10',
      'link add red0 type veth peer name red1 netns stranger',
      'link set red0 master red',
      'addr add 10.88.0.1/24 dev red0',
      'link set red up',
      'link set red0 up',
    )) ?? (await ip('stranger', 'addr add 10.88.0.2/24 dev red1', 'link set red1 up'));
  if (why) return t.skip(why);
  const accept = 'echo 1 >/proc/sys/net/ipv4/tcp_l3mdev_accept';
  assert.equal((await world.run('server', 'sh', ['-c', accept])).status, 0);
  const listeners = [await world.host('server').listen(4443), await world.host('server').listen(4444)];
  for (const hook of ['input', 'prerouting']) {
    await opens(stranger, '10.88.0.1', 4443);
    await load(world, { hook, services: { ssh: { ...services.ssh, ports: [4443] } } });
    await opens(stranger, '10.88.0.1', 4444);
    await isShut(stranger, '10.88.0.1', 4443);
    await stranger.knock('10.88.0.1', sshKnocks);
    t.diagnostic(`${hook}: after the knocks it is ${await stranger.connect('10.88.0.1', 4443)}`);
    await command(['unload']);
  }
  for (const { close } of listeners) await close();
});
