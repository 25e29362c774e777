/** A full table of connections, which only a whole machine can have, and VRFs and bridges that track, which few kernels have. */
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

test('attack: a bridge whose own table asks ct lets a datagram in, and with two rules none', async t => {
  const sh = async (host: string, script: string) => {
    const { status, stdout, stderr } = await world.run(host, 'sh', ['-ec', script]);
    return status === 0 ? { out: stdout.trim() } : { why: stderr.trim() };
  };
  // the stranger's link is a port of the bridge, which has an address of its own
  const made = await sh(
    'server',
    `ip link add br9 type bridge mcast_snooping 0
     ip link add bp0 type veth peer name bp1 netns stranger
     ip link add bq0 type veth peer name bq1
     for port in bp0 bq0; do ip link set $port master br9; done
     for link in bp0 bq0 bq1 br9; do ip link set $link up; done
     ip addr add 10.99.0.1/24 dev br9
     cat /sys/class/net/br9/address`,
  );
  if (made.why !== undefined) return t.skip(made.why);
  await sh('stranger', 'ip addr add 10.99.0.2/24 dev bp1; ip link set bp1 up');
  const { close } = await world.host('server').listen(5353, { protocol: 'udp' });
  await load(world, { services: { dns: { ...services.dns, ports: ['5353/udp'] } } });
  const table = (rules: string) =>
    sh(
      'server',
      `nft 'table bridge asks { chain forward { type filter hook forward priority 0; ${rules} ct state new accept; }; }'`,
    );
  const reaches = async (mac: string, localPort: number, timeout: number) => {
    await sh('stranger', `ip neigh replace 10.99.0.1 lladdr ${mac} dev bp1 nud permanent`);
    return (await stranger.udp('10.99.0.1', 5353, 'x', { localPort, timeout })) === 'x';
  };
  /** A frame for nobody, which the bridge passes on, and then one for us. */
  const gets = async (localPort: number, timeout: number) => {
    await reaches('02:00:00:00:00:99', localPort, 500);
    return reaches(made.out, localPort, timeout);
  };
  try {
    assert.equal(await gets(4001, 1000), false, 'without such a table');
    const { why } = await table('');
    if (why !== undefined) return t.skip(why);
    assert.equal(await gets(4002, PATIENCE), true, 'the control: with the table');
    const { stdout } = await world.knockd(['doctor']); // its status is that of all findings
    assert.match(stdout, /table bridge asks asks ct, and UDP ports are guarded/);
    await sh('server', 'nft delete table bridge asks');
    await table('ip daddr 10.99.0.1 drop; ip saddr 10.99.0.1 drop;');
    assert.equal(await gets(4003, 1000), false, 'with rules that drop such frames');
  } finally {
    await sh(
      'server',
      'nft delete table bridge asks; ip link delete bp0; ip link delete bq0; ip link delete br9',
    );
    await close();
  }
  await command(['unload']);
});
