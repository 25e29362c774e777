/** `on`: commands for events, by the program itself. */
import t from 'tap';
import { isGroupRunning } from '../../src/host/proc.ts';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

const admin = { ports: [8443], sequence: [7001, '7004/udp', 7006] };

t.test(
  'a command runs for each event of a service from now on, also after the supervisor was killed',
  { skip },
  async t => {
    const { world, environment, supervisor, event } = await supervised(t, { services: { ssh, admin } });
    const client = world.host('client');
    await client.knock(world.server.ipv4, knocks);
    await event('opened');
    const script = 'echo "for $KNOCKD_NFT_CLIENT: $(cat)"; exit 3';
    const on = world.startKnockd(['on', 'opened', '--service', 'ssh', '--', 'sh', '-c', script], environment);
    await on.line(/waiting for "opened" of ssh/);
    await client.knock(world.server.ipv4, ['7001/tcp', '7004/udp', '7006/tcp']);
    await client.knock(world.server.ipv6, knocks);
    const line = await on.line(/^for /);
    t.match(line, `for ${world.client.ipv6}: {`, 'neither who was in before, nor another service');
    t.match(JSON.parse(line.slice(line.indexOf('{'))), { event: 'opened', service: 'ssh', openFor: 30 });
    t.match(
      await on.line(/exit status/),
      `"sh" ended with exit status 3, for: opened ssh for ${world.client.ipv6}`,
    );
    t.equal(on.lines().filter(it => it.startsWith('for ')).length, 1, 'once for each');
    await supervisor.stop('SIGKILL');
    await on.line(/the supervisor ended the connection: events until it is back are missed/);
    const successor = world.startKnockd(['run'], environment);
    await successor.line(/"event":"unchanged"/);
    await on.line(/waiting for "opened" of ssh/);
    const again = async () => {
      await client.knock(world.server.ipv4, knocks); // it may not hear events yet
      return on.lines().some(it => it.startsWith(`for ${world.client.ipv4}: {`));
    };
    t.ok(await until(again, seen => seen));
    t.equal((await on.stop()).status, 0);
    await successor.stop();
  },
);

t.test('a command that hangs does not outlive it, nor keep the supervisor waiting', { skip }, async t => {
  const { world, environment, event } = await supervised(t, { services: { ssh } });
  const command = ['on', 'opened', '--at-once', '2', '--', 'sh', '-c', 'echo pid $$; sleep 1000'];
  const on = world.startKnockd(command, environment);
  await on.line(/waiting for/);
  const client = world.host('client');
  const pids: number[] = [];
  for (let round = 0; round < 2; round++) {
    await client.knock(world.server.ipv4, knocks);
    await event('opened');
    pids.push(Number((await on.line(/^pid /)).slice(4)));
  }
  t.equal((await on.stop()).status, 0);
  t.notMatch(on.lines().join(), /took longer/);
  for (const pid of pids) t.notOk(isGroupRunning(pid));
  await client.knock(world.server.ipv4, knocks);
  t.match(await event('opened'), { service: 'ssh' }, 'the supervisor goes on');
});

t.test('words that nobody can have meant are refused, before anything is done', { skip }, async t => {
  const { world, environment } = await supervised(t, { services: { ssh } });
  for (const [words, message] of [
    [['on', 'opend', '--', 'true'], /no event "opend"; the nearest is "opened"/],
    [['on', 'loaded', '--service', 'ssh', '--', 'true'], /"loaded" has no service/],
    [['on', 'opened'], /missing required argument/],
    [['on', 'opened', '--timeout', '0', '--', 'true'], /--timeout 0 .*from 1 s to 24 h/],
    [['on', 'opened', '--at-once', '0', '--', 'true'], /--at-once 0: expected a number from 1 to 100/],
  ] as const) {
    const { status, stderr } = await world.knockd(words, { env: environment });
    t.equal(status, 64, words.join(' '));
    t.match(stderr, message);
  }
  const on = world.startKnockd(['on', 'opened', '--service', 'shh', '--', 'true'], environment);
  t.match(await on.line(/no service/), /there is no service "shh" in the table that is loaded/);
  await on.stop();
});
