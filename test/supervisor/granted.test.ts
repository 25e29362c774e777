/** Grants and revocations by hand are in the journal. */
import t from 'tap';
import { knocks, skip, ssh, supervised } from './supervised.ts';

const admin = { ports: [8443], sequences: { alice: [7001, 7003, 7005] }, openFor: '1m' };

t.test('a grant and a revocation are reported, once each', { skip }, async t => {
  const { world, event, events } = await supervised(t, { services: { ssh, admin } });
  const [client, server] = [world.client, world.server];
  t.equal((await world.knockd(['grant', 'ssh', client.ipv4])).status, 0);
  const granted = await event('granted');
  t.match(granted, { service: 'ssh', client: client.ipv4, user: null, openFor: 30, level: 30 });
  t.equal(granted.msg, `granted ssh to ${client.ipv4}`);
  t.equal((await world.knockd(['grant', 'ssh', client.ipv4, '--for', '1h'])).status, 0);
  t.match(await event('granted'), { service: 'ssh', client: client.ipv4, openFor: 3600 });
  t.equal((await world.knockd(['revoke', 'ssh', client.ipv4])).status, 0);
  t.match(await event('revoked'), { service: 'ssh', client: client.ipv4, user: null });

  await world.host('client').knock(server.ipv6, ['7001/tcp', '7003/tcp', '7005/tcp']);
  t.match(await event('opened'), { service: 'admin', user: 'alice' });
  t.equal((await world.knockd(['revoke', 'alice'])).status, 0);
  const revoked = await event('revoked');
  t.match(revoked, { service: 'admin', client: client.ipv6, user: 'alice' });
  t.equal(revoked.msg, `revoked admin from ${client.ipv6}`);
  t.same(
    events().flatMap(({ event }) => (/granted|revoked|restored/.test(event ?? '') ? [event] : [])),
    ['granted', 'granted', 'revoked', 'revoked'],
  );
});

t.test('changes with nft are reported, too', { skip }, async t => {
  const { world, event } = await supervised(t, { services: { ssh } });
  const nft = (words: string) => world.run('server', 'nft', [words]);
  t.equal((await nft('add element inet knockd ssh_clients_ipv4 { 192.0.2.7 }')).status, 0);
  t.match(await event('granted'), { service: 'ssh', client: '192.0.2.7', openFor: null });
  t.equal((await nft('add element inet knockd ssh_clients_ipv6 { 2001:db8::7 timeout 2h }')).status, 0);
  t.match(await event('granted'), { service: 'ssh', client: '2001:db8::7', openFor: 7200 });
  t.equal((await nft('flush set inet knockd ssh_clients_ipv4')).status, 0);
  t.match(await event('revoked'), { service: 'ssh', client: '192.0.2.7' });
});

t.test(
  'knocks, clients that go with their service, and clients that are put back are neither',
  { skip },
  async t => {
    const { world, event, events } = await supervised(t, { services: { ssh, admin } });
    t.equal((await world.knockd(['grant', 'admin', world.client.ipv4])).status, 0);
    await event('granted');
    await world.host('client').knock(world.server.ipv4, knocks);
    await event('opened');
    t.equal((await world.run('server', 'nft', ['flush', 'ruleset'])).status, 0);
    t.match(await event('restored'), { clients: 2 });
    const { stdout } = await world.run('server', 'nft', [
      'list',
      'set',
      'inet',
      'knockd',
      'admin_clients_ipv4',
    ]);
    t.match(stdout, /comment "granted"/);
    world.write({ services: { ssh: { ...ssh, openFor: '10s' } } });
    await event('swapped');
    world.write({ services: { ssh: { ...ssh, singleUse: true } } });
    await event('swapped');
    world.write({ services: { ssh }, prefix: { ipv4: 24 } });
    await event('swapped');
    t.same(events().filter(({ event }) => event === 'revoked' || event === 'granted').length, 1);
  },
);

t.test('a revoked client is not put back, however soon the table goes', { skip }, async t => {
  const { world, supervisor, environment, event } = await supervised(t, { services: { ssh, admin } });
  const who = async (service: string) => {
    const { stdout } = await world.knockd(['status', '--json']);
    const clients: { address: string }[] = JSON.parse(stdout).services[service].clients;
    return clients.map(({ address }) => address).sort();
  };
  const granted = async (service: string, address: string) => {
    t.equal((await world.knockd(['grant', service, address, '--for', '1h'])).status, 0);
    await event('granted');
  };
  const flushAfter = async (...words: readonly string[]) => {
    supervisor.signal('SIGSTOP');
    t.equal((await world.knockd(['revoke', ...words], { env: environment })).status, 0);
    await world.nft('flush ruleset');
    supervisor.signal('SIGCONT');
    await event('restored');
  };
  await granted('ssh', '192.0.2.7');
  await granted('ssh', '192.0.2.8');
  await granted('admin', '192.0.2.7');
  await flushAfter('ssh', '192.0.2.7');
  t.same([await who('ssh'), await who('admin')], [['192.0.2.8'], ['192.0.2.7']]);
  await granted('ssh', '192.0.2.7');
  await flushAfter('admin', '--all');
  t.same([await who('ssh'), await who('admin')], [['192.0.2.7', '192.0.2.8'], []], 'let in again since');
  await world.host('client').knock(world.server.ipv4, ['7001/tcp', '7003/tcp', '7005/tcp']);
  await event('opened');
  await flushAfter('alice');
  t.same([await who('ssh'), await who('admin')], [['192.0.2.7', '192.0.2.8'], []]);
  await flushAfter('192.0.2.8');
  t.same(await who('ssh'), ['192.0.2.7']);
});
