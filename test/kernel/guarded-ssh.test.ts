/** The promises of guards, at a real sshd: one opening, and a client that tries everything. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { load, loadedWorld, serviceOf, ssh, sshKnocks, until } from './loaded.ts';
import type { Packet } from './packet.ts';
import { endings, makeByHand, RawConnection, syns } from './raw-connection.ts';
import { cannotSshd, startSshd } from './sshd.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') || cannotSshd() };
const PERSISTENCE = 30_000;

/** An ssh login that echoes its input. */
async function login(world: World, config: string, name: string) {
  const pipe = `${config}.${name}`;
  // one process, so that it ends with the test
  const script = `mkfifo ${pipe} && exec ssh -F ${config} server cat <>${pipe}`;
  const running = world.start('client', 'sh', ['-c', script]);
  const say = async (words: string) => {
    await world.run('client', 'sh', ['-c', `until [ -p ${pipe} ]; do :; done; echo '${words}' >${pipe}`]);
    return running.line(new RegExp(`^${words}$`));
  };
  await say(`${name} begins`);
  return say;
}

t.test('one opening is one opening, and what it let in goes on', needs, async t => {
  const config = { services: { ssh: { ...ssh, openFor: '2s' } } };
  const world = await loadedWorld(t, config);
  const sshd = await startSshd(t, world);
  await makeByHand(world);
  const to = world.server.ipv4;
  const ssh_config = sshd.sshConfig(`Host server
  HostName ${to}
  ServerAliveInterval 0
  TCPKeepAlive no`);

  await world.host('client').knock(to, sshKnocks);
  const [busy, idle] = await Promise.all([
    login(world, ssh_config, 'busy'),
    login(world, ssh_config, 'idle'),
  ]);
  await until(
    () => serviceOf(world, 'ssh'),
    ({ clients }) => clients.length === 0,
  );
  await world.host('client').knock(to, sshKnocks);
  const connections = Array.from(
    { length: 12 },
    (_, index) => new RawConnection(world, to, 22, 40_000 + index),
  );
  const left = await Promise.all(
    connections.map((connection, index) => connection.leave(endings[index % endings.length] ?? 'open')),
  );
  t.ok(left.every(Boolean), 'every connection was let in');
  await until(
    () => serviceOf(world, 'ssh'),
    ({ clients }) => clients.length === 0,
  );

  const { accepted } = await serviceOf(world, 'ssh');
  const captured = await world.host('client').capture({ protocol: 'tcp', port: 22 });
  const sent = new Set<string>();
  for (const end = performance.now() + PERSISTENCE - 1000; performance.now() < end; await delay(200)) {
    const packets: Packet[] = connections.flatMap(connection => [
      connection.acknowledgment(),
      ...syns.flatMap(dress => [connection.newSyn(dress), connection.sameSyn(dress)]),
    ]);
    for (const { sourcePort, sequence = 0 } of packets) sent.add(`${sourcePort} ${sequence + 1}`);
    await world.host('client').send(packets);
  }
  const seen = await captured.end(1000);
  const letIn = seen.filter(
    ({ flags, port, acknowledgment }) =>
      flags.includes('syn') && flags.includes('ack') && sent.has(`${port} ${acknowledgment}`),
  );
  t.same(
    letIn.map(({ port }) => `${port} ${endings[(port - 40_000) % endings.length]}`),
    [],
    `of ${sent.size} SYNs none was answered`,
  );
  t.equal((await serviceOf(world, 'ssh')).accepted, accepted, 'and none was accepted');

  t.ok(await busy('before'));
  await world.run('server', 'conntrack', ['-F']);
  t.ok(await busy('after conntrack -F'));
  const timeout = 'echo 3 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established';
  t.equal((await world.run('server', 'sh', ['-c', timeout])).status, 0);
  const tracked = async () =>
    (await world.run('server', 'conntrack', ['-L', '-p', 'tcp', '--dport', '22', '--state', 'ESTABLISHED']))
      .stdout;
  t.ok(await busy('with a short time-out'));
  await until(tracked, text => text === '');
  t.ok(await busy('after a time-out'));
  await load(world, { services: { ssh: { ...ssh, openFor: '3s' } } });
  await until(tracked, text => text === '');
  t.ok(await busy('after a swap'));
  await world.nft('flush ruleset');
  await load(world, config);
  await world.run('server', 'conntrack', ['-F']);
  t.ok(await busy('after a flush and a load'));
  t.ok(await idle('after all of it'));
});
