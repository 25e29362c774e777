/** Services without ports: they open nothing, and are only events. */
import t from 'tap';
import { GOOD, SECRETS, token, tokenWorld } from '../kernel/token-world.ts';
import { knocks, skip, ssh } from './supervised.ts';

const config = {
  services: {
    ssh,
    wake: { ports: [], sequence: [7001, '7004/udp', 7006] },
    backup: { ports: [], tokens: SECRETS },
  },
};

t.test('a service without ports reports knocks and tokens, and opens nothing', { skip }, async t => {
  const world = await tokenWorld(t);
  const supervisor = await world.supervise(config);
  const client = world.host('client');
  await client.knock(world.server.ipv4, ['7001/tcp', '7004/udp', '7006/tcp']);
  t.match(JSON.parse(await supervisor.line(/"event":"opened"/)), {
    service: 'wake',
    client: world.client.ipv4,
    user: null,
    openFor: null,
    msg: `opened wake for ${world.client.ipv4}`,
  });
  await world.sendToken('client', token('bob', GOOD, { service: 'backup' }));
  t.match(JSON.parse(await supervisor.line(/"event":"opened"/)), { service: 'backup', user: 'bob' });
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  await client.knock(world.server.ipv4, knocks);
  t.match(JSON.parse(await supervisor.line(/"event":"opened"/)), { service: 'ssh', openFor: 30 });
  t.equal(await client.connect(world.server.ipv4, 22), 'refused', 'the kernel answers now');

  const { stdout } = await world.knockd(['status', '--json'], { env: world.env });
  t.match(JSON.parse(stdout), {
    inSync: true,
    services: {
      wake: { ports: [], clients: [], opened: 1, accepted: 0, refused: 0 },
      backup: { ports: [], clients: [], opened: 1 },
      ssh: { ports: ['22/tcp'], opened: 1 },
    },
  });
  t.match((await world.knockd(['status'], { env: world.env })).stdout, /^wake +- +0 +1 +0 +0$/m);
  t.match(
    (await world.knockd(['check'])).stdout,
    /^ {2}wake: no ports: opens nothing, and is only an event$/m,
  );
  const granted = await world.knockd(['grant', 'wake', '192.0.2.7'], { env: world.env });
  t.equal(granted.status, 64);
  t.match(granted.stderr, /wake has no ports: it is only an event/);
  const revoked = await world.knockd(['revoke', 'wake', '--all'], { env: world.env });
  t.equal(revoked.status, 0, revoked.stderr);
  const rendered = await world.knockd(['render']);
  const checked = await world.run('server', 'nft', ['-c', '-f', '-'], { input: rendered.stdout });
  t.equal(checked.status, 0, checked.stderr);
  t.notMatch(await world.list(), /(guard|clients|refused|accepted)_?wake|wake_(clients|users|accepted)/);

  world.write({ services: { ...config.services, wake: { ...config.services.wake, ports: [8080] } } });
  await supervisor.line(/"event":"swapped"/);
  t.equal(await client.connect(world.server.ipv4, 8080), 'silent', 'it may get ports');
  world.write(config);
  await supervisor.line(/"event":"swapped"/);
  t.equal(await client.connect(world.server.ipv4, 8080), 'refused', 'and lose them');
  t.equal((await supervisor.stop()).status, 0);
});
