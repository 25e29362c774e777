/** Metrics: by the command, and in the file for node_exporter. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { GOOD, SECRETS, token, tokenWorld } from '../kernel/token-world.ts';
import { faultsOf } from '../metrics/openmetrics.ts';
import { knocks, skip, ssh, until } from './supervised.ts';

const services = {
  ssh: { ...ssh, openFor: '5m' },
  web: { ports: [8443], tokens: SECRETS },
  wake: { ports: [], sequence: [7001, '7004/udp', 7006] },
};

t.test('metrics show what the kernel counts, and name nobody', { skip }, async t => {
  const world = await tokenWorld(t);
  const supervisor = await world.supervise({ services, metrics: true });
  const client = world.host('client');
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  await client.knock(world.server.ipv4, knocks);
  await supervisor.line(/opened ssh/);
  t.equal(await client.connect(world.server.ipv4, 22), 'refused', 'let in');
  await world.sendToken('client', token('bob', GOOD, { service: 'web' }));
  await supervisor.line(/opened web/);
  await world.sendToken('client', 'f'.repeat(32));
  const expected = [
    'supervisor_up 1',
    'loaded 1',
    'in_sync 1',
    'held 0',
    'troubles 0',
    'openings_total{service="ssh"} 1',
    'openings_total{service="wake"} 0',
    'accepted_connections_total{service="ssh"} 1',
    'clients{service="ssh"} 1',
    'wrong_tokens_total 1',
    'repeated_tokens_total 0',
    'lost_events_total 0',
  ];
  const { stdout, status } = await world.knockd(['metrics'], { env: world.env });
  t.equal(status, 0);
  t.same(faultsOf(stdout), []);
  for (const line of expected) t.match(stdout, `\nknockd_nft_${line}\n`);
  t.match(stdout, '\nknockd_nft_knocking 0\n');
  const [, ends] = /\nknockd_nft_tokens_until_timestamp_seconds (\d+)/.exec(stdout) ?? [];
  t.ok(Number(ends) > Date.now() / 1000);

  const path = join(world.env.RUNTIME_DIRECTORY, 'metrics.prom');
  const read = () => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  const file = await until(
    async () => read(),
    text => text.includes('wrong_tokens_total 1'),
  );
  for (const line of expected) t.match(file, `\nknockd_nft_${line}\n`);
  t.equal(statSync(path).mode & 0o777, 0o644);
  for (const text of [stdout, file]) {
    t.notMatch(text, world.client.ipv4);
    t.notMatch(text, /10000|7001|bob|alice|a1a1|b0b0/);
  }

  writeFileSync(world.configFile, '{ "services": ');
  await supervisor.line(/"event":"invalid"/);
  t.match(
    await until(
      async () => read(),
      text => /in_sync 0/.test(text),
    ),
    /in_sync 0\n/,
    'and when all is not well',
  );
  world.write({ services });
  await supervisor.line(/"event":"unchanged"/);
  t.equal(
    await until(
      async () => read(),
      text => text === '',
    ),
    '',
    'it goes where nobody wants it any more',
  );
  world.write({ services, metrics: true });
  await until(
    async () => read(),
    text => text !== '',
  );
  await supervisor.stop();
  t.equal(read(), '', 'and with its supervisor');
  const dead = await world.knockd(['metrics'], { env: world.env });
  t.match(dead.stdout, '\nknockd_nft_supervisor_up 0\n');
  t.match(dead.stdout, '\nknockd_nft_openings_total{service="ssh"} 1\n', 'the kernel counts on');
  t.notMatch(dead.stdout, 'lost_events', 'which nobody knows now');
});

t.test('a supervisor that was stopped keeps no metrics waiting', { skip }, async t => {
  const world = await tokenWorld(t);
  const supervisor = await world.supervise({ services: { ssh } });
  supervisor.signal('SIGSTOP');
  const { stdout, status } = await world.knockd(['metrics'], { env: world.env });
  supervisor.signal('SIGCONT');
  t.equal(status, 0);
  t.match(stdout, '\nknockd_nft_supervisor_up 1\n');
  t.notMatch(stdout, 'lost_events', 'what only it knows is left out');
});
