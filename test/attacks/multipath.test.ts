/** Multipath TCP, by the kernels themselves: a further path of a connection needs an opening for its own address. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { families, load, serviceOf, ssh, sshKnocks, until } from '../kernel/loaded.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';

const needs = {
  skip:
    missing('namespaces', 'nft', 'knockd') ||
    (!existsSync('/proc/sys/net/mptcp/enabled') && 'this kernel has no multipath TCP (CONFIG_MPTCP)'),
};

/** Counters of the server's kernel: SYNs that would join, and paths that have joined. */
async function joins(world: World): Promise<{ readonly asked: number; readonly joined: number }> {
  const { stdout } = await world.run('server', 'cat', ['/proc/net/netstat']);
  const [names = [], counts = []] = stdout
    .split('\n')
    .filter(line => line.startsWith('MPTcpExt:'))
    .map(line => line.split(' '));
  const count = (name: string) => Number(counts[names.indexOf(name)]);
  return { asked: count('MPJoinSynRx'), joined: count('MPJoinAckRx') };
}

async function endpoint(world: World, ...words: readonly string[]): Promise<void> {
  const { status, stderr } = await world.run('client', 'ip', ['mptcp', 'endpoint', ...words]);
  if (status !== 0) throw new Error(`ip mptcp endpoint ${words.join(' ')}: ${stderr}`);
}

const other = { ipv4: '10.77.0.50', ipv6: 'fd77::50' } as const;
const configs = [{}, { hook: 'prerouting' }, { policy: 'drop' }];

t.test('a path joins a connection if its address is in, and else not', needs, async t => {
  const world = await createWorld(t);
  const client = world.host('client');
  await world.host('server').listen(22, { multipath: true });
  for (const family of families)
    await world.addAddress('client', `${other[family]}/${family === 'ipv4' ? 24 : 64}`);
  for (const config of configs)
    await t.test(JSON.stringify(config), async t => {
      await load(world, { services: { ssh }, ...config });
      for (const family of families) {
        const [to, from] = [world.server[family], world.client[family]];
        await client.knock(to, sshKnocks, { from });
        const session = await client.open(to, 22, { multipath: true, from });
        t.equal(await session.send('by one path'), 'alive');
        const before = { ...(await joins(world)), ...(await serviceOf(world, 'ssh')) };
        const path = ['add', other[family], 'dev', 'eth0', 'subflow'];
        await endpoint(world, ...path);
        await until(
          () => serviceOf(world, 'ssh'),
          ({ refused }) => refused > before.refused,
        );
        t.match(await joins(world), { asked: before.asked, joined: before.joined }, `${family}: refused`);
        t.equal(await session.send('still by one'), 'alive');

        await endpoint(world, 'flush');
        await client.knock(to, sshKnocks, { from: other[family] });
        await endpoint(world, ...path);
        await until(
          () => joins(world),
          ({ joined }) => joined === before.joined + 1,
        );
        t.equal((await serviceOf(world, 'ssh')).accepted, before.accepted + 1, 'let in like any connection');
        t.equal(await session.send('by two paths'), 'alive');
        await endpoint(world, 'flush');
        await session.close();
        await world.nft(`flush set inet knockd ssh_clients_${family}`);
      }
    });
});
