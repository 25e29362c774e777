import { readFileSync } from 'node:fs';
import t from 'tap';
import { lacking } from '../kernel/process.ts';
import { createWorld } from '../kernel/world.ts';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

/** The message by which a socket takes an NFLOG group, as strace writes it. */
const BIND = /NFULNL_MSG_CONFIG/;

t.test(
  'an opening is reported with service, client, user and time, and so are refused connections',
  { skip },
  async t => {
    const { world, event } = await supervised(t, {
      services: {
        ssh,
        admin: {
          ports: [8443],
          sequences: { alice: [7001, 7003, 7005], bob: [7001, '7004/udp', 7006] },
          openFor: '1m',
        },
      },
      prefix: { ipv6: 64 },
      log: { refused: true },
    });
    const client = world.host('client');
    t.equal(await client.connect(world.server.ipv4, 22), 'silent');
    t.match(await event('refused'), { service: 'ssh', client: world.client.ipv4, level: 30 });
    await client.knock(world.server.ipv4, knocks);
    t.match(await event('opened'), { service: 'ssh', client: world.client.ipv4, user: null, openFor: 30 });
    await client.knock(world.server.ipv6, ['7001/tcp', '7004/udp', '7006/tcp']);
    t.match(await event('opened'), { service: 'admin', client: 'fd77::/64', user: 'bob', openFor: 60 });
  },
);

t.test('a reader of "loaded" is heard from then on', { skip: skip || lacking('strace') }, async t => {
  const world = await createWorld(t);
  world.write({ services: { ssh } });
  const log = `${world.configFile}.strace`;
  const supervisor = world.start('server', 'strace', [
    ...['-f', '-s', '2000', '-o', log, '-e', 'trace=sendto,sendmsg,write'],
    ...['setpriv', '--pdeathsig', 'KILL'], // it ends with strace
    ...[process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'],
  ]);
  await supervisor.line(/"event":"loaded"/);
  await until(
    async () => readFileSync(log, 'utf8'),
    text => text.includes('"event') && BIND.test(text),
  );
  const lines = readFileSync(log, 'utf8').split('\n');
  const bound = lines.findIndex(line => BIND.test(line));
  const told = lines.findIndex(line => line.includes('event') && line.includes('loaded'));
  t.ok(bound >= 0 && bound < told, `bound in line ${bound}, told in line ${told}`);
});

t.test('as text, an opening is one readable line', { skip }, async t => {
  const { world, supervisor } = await supervised(t, {
    services: { ssh: { ports: [22], sequences: { alice: [10000, 2345, 3456] }, openFor: 10 } },
  });
  world.write({
    services: { ssh: { ports: [22], sequences: { alice: [10000, 2345, 3456] }, openFor: 10 } },
    log: { format: 'text' },
  });
  await supervisor.line(/event=(unchanged|swapped)/);
  await world.host('client').knock(world.server.ipv4, ['10000/tcp', '2345/tcp', '3456/tcp']);
  const address = world.client.ipv4;
  t.match(
    await supervisor.line(/^opened/),
    `opened ssh for ${address} service=ssh client=${address} user=alice openFor=10s event=opened`,
  );
});

t.test('no line of the journal shows a sequence', { skip }, async t => {
  const { world, supervisor, event } = await supervised(t, { services: { ssh } });
  world.write({ services: { ssh: { ...ssh, sequence: [11111, 2345, 3456, 1234] } } });
  t.match((await event('swapped')).msg, /services\.ssh\.sequence: changed/);
  world.write('{ "services": { "ssh": { "ports": [22], "sequence": [10000, 2345, 2345, 3456] } } }');
  await event('invalid');
  const lines = supervisor.lines().map(line => line.replace(/"time":\d+,/, '')); // any digits, by chance
  t.notMatch(lines.join('\n'), /10000|2345|3456|11111/);
});

t.test(
  'a group that another program holds is reported, and the rest goes on without events',
  { skip },
  async t => {
    const { world, supervisor } = await supervised(t, { services: { ssh } });
    const second = world.startKnockd(['run']);
    t.match(await second.line(/NFLOG/), /NFLOG group 22 is held by another program/);
    world.write({ services: { ssh: { ...ssh, ports: [23] } } });
    await second.line(/"event":"(swapped|unchanged)"/);
    world.write({ services: { ssh }, log: { group: 23 } });
    const held = /NFLOG group 23 is held by another program/;
    t.match(await Promise.any([supervisor, second].map(one => one.line(held))), held, 'of two one gets it');
    t.equal((await second.stop()).status, 0);
  },
);

t.test('events that did not fit are counted', { skip }, async t => {
  const { world, supervisor, event } = await supervised(t, { services: { ssh } });
  // somebody else's rule, without a limit, in our group
  await world.nft(`table inet noisy {
  chain input {
    type filter hook input priority -300
    udp dport 5555 log prefix "noise" group 22
  }
}`);
  const client = world.host('client');
  const packets = 300_000;
  const flood = {
    to: world.server.ipv4,
    knocks: ['5555/udp'],
    sources: { first: '198.18.0.1', count: 1000 },
  };
  supervisor.signal('SIGSTOP');
  await client.flood({ ...flood, count: packets });
  supervisor.signal('SIGCONT');
  // what is missing is seen when the next one comes, for which there is room again
  const next = setInterval(() => void client.flood({ ...flood, count: 1 }), 200);
  const { count } = await event('lost').finally(() => clearInterval(next));
  t.ok(Number(count) > 0 && Number(count) < packets, `${count} of ${packets}`);
  // the supervisor may still be reading, so that there is no room for one more
  const opened = event('opened');
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  void opened.then(over, over);
  while (!isOver) await client.knock(world.server.ipv4, knocks);
  t.match(await opened, { service: 'ssh' }, 'and it goes on');
  t.equal((await supervisor.stop()).status, 0);
});
