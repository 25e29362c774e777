/** TCP Fast Open, by the kernels themselves: a cookie that a client got while it was in is no pass for later. */
import t from 'tap';
import { families, until } from '../kernel/loaded.ts';
import { CONFIGS, createTarget, needs, PORTS, SEQUENCES, type Target } from './target.ts';

async function shell(target: Target, host: string, script: string): Promise<string> {
  const { status, stdout, stderr } = await target.run(host, 'sh', ['-ec', script]);
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout;
}

/** How many connections the server's kernel has accepted by their SYN alone, with its data. */
async function byData(target: Target): Promise<number> {
  const lines = (await shell(target, 'server', 'cat /proc/net/netstat')).split('\n');
  const [names = [], counts = []] = lines
    .filter(line => line.startsWith('TcpExt:'))
    .map(line => line.split(' '));
  return Number(counts[names.indexOf('TCPFastOpenPassive')]);
}

/** Of <net/tcp.h>, for both hosts: each listener takes data in a SYN, with a cookie or without one. */
const WAYS = [
  ...(['policy accept', 'policy drop', 'hook prerouting'] as const).map(config => ({
    config,
    how: 'with a cookie',
    bits: 0x403,
  })),
  { config: 'policy accept', how: 'without one', bits: 0x607 },
] as const;

t.test('data in a SYN reaches a guarded service only while its client is in', needs, async t => {
  const target = await createTarget(t);
  // a client that got no answer may send again without data at once
  await shell(target, 'client', 'echo 0 >/proc/sys/net/ipv4/tcp_fastopen_blackhole_timeout_sec');
  const client = target.host('client');
  const port = PORTS.tcp.drop;
  for (const { config, how, bits } of WAYS)
    for (const family of families) {
      const where = `${how}, ${config}, ${family}`;
      const to = target.server[family];
      for (const host of ['client', 'server'])
        await shell(target, host, `echo ${bits} >/proc/sys/net/ipv4/tcp_fastopen; ip tcp_metrics flush all`);
      await target.reload(CONFIGS[config]);
      await client.knock(to, SEQUENCES.ssh);
      const fast = async (timeout?: number) => {
        const session = await client.open(to, port, { fastOpen: true });
        const answer = await session.send('data', timeout);
        await session.close();
        return answer;
      };
      t.equal(await fast(), 'alive', `${where}: a client comes in`);
      const before = await byData(target);
      t.equal(await fast(), 'alive', `${where}: and its next SYN brings data`);
      t.equal(await byData(target), before + 1, `${where}: the control`);

      await target.nft(`flush set inet knockd ssh_clients_${family}`);
      const [arrived, { refused = 0 }] = [await target.arrived(), (await target.state()).services.ssh ?? {}];
      const answers = await client.capture({ from: to, protocol: 'tcp', port });
      t.equal(await fast(400), 'dead', `${where}: after the opening`);
      t.same(await answers.end(), [], `${where}: no answer`);
      await until(
        () => target.state(),
        ({ services }) => (services.ssh?.refused ?? 0) > refused,
      );
      t.equal(await target.arrived(), arrived, `${where}: nothing arrives`);
      t.equal(await byData(target), before + 1, where);
      t.same(await target.inside(), [], where);
    }
});
