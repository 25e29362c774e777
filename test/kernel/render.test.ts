/** The output of `render` may be loaded with nft again and again. */
import t from 'tap';
import { createWorld, missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234], openFor: '1h' };
const configs = {
  plain: { services: { ssh } },
  'a firewall': {
    services: { ssh, web: { ports: ['80/tcp', '6000-6010/udp'], sequences: { a: [7000, 8000, 9000] } } },
    ...{ policy: 'drop', public: [443], allow: ['192.0.2.0/24', '2001:db8::/32'] },
    ...{ hook: 'prerouting', log: { refused: true }, closed: 'reject' },
  },
};

for (const [what, config] of Object.entries(configs))
  t.test(`loaded twice it is the same as once, and clients that are in stay: ${what}`, { skip }, async t => {
    const world = await createWorld(t);
    world.write(config);
    const script = (await world.knockd(['render'])).stdout;
    const program = async () => (await world.run('server', 'nft', ['-s', 'list', 'ruleset'])).stdout;
    await world.nft(script);
    const once = await program();
    await world.nft(script);
    t.equal(await program(), once);
    t.equal((await world.knockd(['diff'])).status, 0, 'and it is what load would make');
    const client = world.host('client');
    await world.host('server').listen(22);
    await client.knock(world.server.ipv4, ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp']);
    await world.nft(script);
    t.equal(await client.connect(world.server.ipv4, 22), 'open');
    t.match(JSON.parse((await world.knockd(['status', '--json'])).stdout).services.ssh, {
      clients: [{ address: world.client.ipv4 }],
      opened: 1,
    });
  });

t.test('the transaction of a load does the same as nft commands', { skip }, async t => {
  const ruleset = async (world: World) =>
    (await world.run('server', 'nft', ['-s', 'list', 'ruleset'])).stdout;
  const made = async (by: 'load' | 'nft') => {
    const world = await createWorld(t);
    const seen: string[] = [];
    for (const config of [...Object.values(configs), ...Object.values(configs).toReversed()]) {
      world.write(config);
      if (by === 'nft') await world.nft((await world.knockd(['diff', '--nft'])).stdout);
      else await world.knockd(['load']);
      t.equal((await world.knockd(['diff'])).status, 0, `${by}: in force`);
      seen.push(await ruleset(world));
    }
    return seen;
  };
  t.strictSame(await made('nft'), await made('load'));
});

t.test('over an older configuration, the newer one counts', { skip }, async t => {
  const world = await createWorld(t);
  world.write({ services: { ssh, web: { ports: [80], sequence: [7000, 8000, 9000] } } });
  await world.knockd(['load']);
  world.write({ services: { ssh: { ...ssh, sequence: [1234, 3456, 2345] } } });
  await world.nft((await world.knockd(['render'])).stdout);
  for (const port of [22, 80]) await world.host('server').listen(port);
  const client = world.host('client');
  t.equal(await client.connect(world.server.ipv4, 80), 'open', 'no longer guarded');
  await client.knock(world.server.ipv4, ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp']);
  t.equal(await client.connect(world.server.ipv4, 22), 'silent', 'the old sequence opens nothing');
  await client.knock(world.server.ipv4, ['1234/tcp', '3456/tcp', '2345/tcp']);
  t.equal(await client.connect(world.server.ipv4, 22), 'open');
});
