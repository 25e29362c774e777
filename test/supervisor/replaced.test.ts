/** Another program puts a table like ours in the place of ours, in one transaction: the clients of ours are in again. */
import t, { type Test } from 'tap';
import { status } from '../kernel/loaded.ts';
import { knocks, type Supervised, skip, ssh, supervised } from './supervised.ts';

const config = {
  services: {
    ssh: { ...ssh, openFor: '30m' },
    admin: {
      ports: [8443],
      sequences: { alice: [7001, 7003, 7005], bob: [7001, 7004, 7006] },
      openFor: '30m',
    },
  },
};

/** The clients with the seconds that they have left, `10.77.0.2 alice`, or without a user. */
async function clientsOf({ world }: Supervised, service: string): Promise<Map<string, number>> {
  const { clients = [] } = (await status(world)).services[service] ?? {};
  return new Map(
    clients.map(({ address, user, expires }) => [
      [address, user].filter(Boolean).join(' '),
      expires ?? Number.POSITIVE_INFINITY,
    ]),
  );
}

/** A supervised world in which a client is in; `saved` is a copy of its ruleset from before. */
async function visited(t: Test): Promise<Supervised & { readonly saved: string }> {
  const all = await supervised(t, config);
  const { world, event } = all;
  await world.host('server').listen(22);
  const saved = await world.list();
  await world.host('client').knock(world.server.ipv4, knocks);
  await event('opened');
  await world.host('client').knock(world.server.ipv6, ['7001/tcp', '7003/tcp', '7005/tcp']);
  await event('opened');
  return { ...all, saved };
}

const ways: Readonly<Record<string, (all: Supervised & { readonly saved: string }) => Promise<void>>> = {
  'a saved copy after a flush': ({ world, saved }) => world.nft(`flush ruleset\n${saved}`),
  'a saved copy in place of our table': ({ world, saved }) => world.nft(`delete table inet knockd\n${saved}`),
  'a flush, and a load by hand before the supervisor looks': async ({ world, supervisor, environment }) => {
    supervisor.signal('SIGSTOP');
    await world.nft('flush ruleset');
    const { status, stderr } = await world.knockd(['load'], { env: environment });
    supervisor.signal('SIGCONT');
    if (status !== 0) throw new Error(stderr);
  },
};

for (const [what, replace] of Object.entries(ways))
  t.test(
    `${what}: the clients are in again for the time that they had left, and the journal says so`,
    { skip },
    async t => {
      const all = await visited(t);
      const { world, event, events } = all;
      const start = performance.now();
      const before = await clientsOf(all, 'ssh');
      await replace(all);
      t.match(await event('(restored|revoked|unchanged)'), { event: 'restored', clients: 2 });
      const after = await clientsOf(all, 'ssh');
      t.same([...after.keys()], [world.client.ipv4]);
      const passed = (performance.now() - start) / 1000;
      for (const [client, left] of after) {
        const was = before.get(client) ?? 0;
        t.ok(left <= was && left > was - passed - 2, `${was} s before, ${left} s after ${passed} s`);
      }
      t.same([...(await clientsOf(all, 'admin')).keys()], [`${world.client.ipv6} alice`]);
      t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
      t.notOk(events().some(line => line.event === 'revoked'));
    },
  );

t.test('a revoked client stays out when a copy from before is loaded', { skip }, async t => {
  const all = await visited(t);
  const { world, supervisor, environment, event } = all;
  supervisor.signal('SIGSTOP');
  t.equal((await world.knockd(['revoke', 'ssh', world.client.ipv4], { env: environment })).status, 0);
  await world.nft(`flush ruleset\n${all.saved}`);
  supervisor.signal('SIGCONT');
  t.match(await event('restored'), { clients: 1 });
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  await world.nft('flush set inet knockd admin_clients_ipv6');
  await event('revoked');
  t.equal((await clientsOf(all, 'admin')).size, 0, 'nor is anybody put back whom nft took out of the table');
});
