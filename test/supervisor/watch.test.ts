/** `watch` beside a supervisor. */
import t from 'tap';
import { knocks, skip, ssh, supervised } from './supervised.ts';

t.test('watch shows at once each event of the supervisor, and the kernel after it', { skip }, async t => {
  const { world, environment } = await supervised(t, { services: { ssh }, log: { refused: true } });
  const client = world.host('client');
  const watch = world.startKnockd(['watch', '--interval', '1h'], environment);
  const json = world.startKnockd(['watch', '--interval', '1h', '--json'], environment);
  await watch.line(/ table inet knockd: as the configuration says$/);
  await json.line(/"event":"status"/);
  world.write({ services: { ssh: { ...ssh, openFor: '1m' } }, log: { refused: true } });
  await watch.line(
    /^\d\d:\d\d:\d\d swapped table inet knockd, 1 service: services\.ssh\.openFor: 30s -> 1m$/,
  );
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  await watch.line(new RegExp(` refused ssh for ${world.client.ipv4.replaceAll('.', '\\.')}$`));
  await client.knock(world.server.ipv4, knocks);
  await watch.line(/ opened ssh for 10\.77\.0\.2$/);
  await watch.line(/ ssh: 10\.77\.0\.2 is in for 1m$/);
  t.match(JSON.parse(await json.line(/"event":"opened"/)), {
    service: 'ssh',
    client: world.client.ipv4,
    openFor: 60,
  });
  await Promise.all([watch, json].map(it => it.stop()));
});
