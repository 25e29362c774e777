import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { numbers } from '../numbers.ts';
import { descriptors, privateMemory } from '../process-figures.ts';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

t.test('500 edits in a row, good and bad: the kernel ends up with the last good one', { skip }, async t => {
  const { world, supervisor, event } = await supervised(t, { services: { ssh } }, true);
  const next = numbers(42).below;
  const good = () => JSON.stringify({ services: { ssh: { ...ssh, ports: [1 + next(900)] } } });
  let memory = 0;
  let files = 0;
  for (let edit = 0; edit < 500; edit++) {
    const text = good();
    const kind = next(5);
    if (kind === 0) rmSync(world.configFile, { force: true });
    else
      writeFileSync(
        world.configFile,
        kind === 1 ? text.slice(0, next(text.length)) : kind === 2 ? `${text}]` : text,
        { mode: 0o640 },
      );
    await delay(next(60));
    if (edit === 100) {
      memory = privateMemory(supervisor.pid);
      files = descriptors(supervisor.pid);
    }
  }
  world.write({ services: { ssh: { ...ssh, ports: [999] } } });
  let line = await event('swapped');
  while (!line.msg.includes('-> 999/tcp')) line = await event('swapped');
  const diff = await until(
    () => world.knockd(['diff']),
    ({ status }) => status === 0,
  );
  t.match(diff, { status: 0, stdout: '' });
  // it gives back what a load took a little after the load
  const now = await until(
    async () => privateMemory(supervisor.pid),
    kilobytes => kilobytes < memory * 1.5,
  );
  t.ok(now < memory * 1.5, `memory does not grow: ${memory} kB after 100 edits, ${now} kB now`);
  t.ok(descriptors(supervisor.pid) <= files + 8, 'no descriptor is leaked');
});

t.test(
  'a flood of knocks and of foreign transactions, while it is stopped, kills nothing and shuts nobody out',
  { skip },
  async t => {
    const { world, supervisor, event } = await supervised(t, {
      services: { ssh: { ...ssh, openFor: '10m' } },
      log: { refused: true },
    });
    const client = world.host('client');
    await world.host('server').listen(22);
    await client.knock(world.server.ipv4, knocks);
    await event('opened');
    // as many as fit into the send buffer that the kernel gives an ordinary user, net.core.wmem_max
    const elements = Array.from(
      { length: 5000 },
      (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`,
    );
    const script = `table inet other {\n set s {\n type ipv4_addr\n elements = { ${elements.join(', ')} }\n }\n}\ndelete table inet other\n`;
    supervisor.signal('SIGSTOP');
    const churn = async () => {
      for (let round = 0; round < 80; round++) await world.nft(script);
    };
    const flood = client.flood({
      to: world.server.ipv4,
      knocks: ['10000/tcp', '22/tcp'],
      sources: { first: '198.18.0.1', count: 60_000 },
      count: 200_000,
    });
    await Promise.all([churn(), flood, delay(10_000)]);
    supervisor.signal('SIGCONT');
    await world.nft('flush ruleset');
    t.match(await event('restored'), { clients: 1 });
    t.equal(await client.connect(world.server.ipv4, 22), 'open', 'the client that was in is still in');
    const { status, stderr } = await supervisor.stop();
    t.equal(status, 0, stderr);
  },
);

t.test(
  'with CAP_NET_ADMIN and nothing else, as an ordinary user, it does all this',
  { skip: skip || process.getuid?.() !== 0 ? skip || 'needs root to become somebody else' : false },
  async t => {
    const { world, supervisor } = await supervised(t, { services: { ssh } });
    await supervisor.stop();
    await world.knockd(['unload']);
    await world.run('server', 'chown', ['65534:65534', world.configFile, dirname(world.configFile)]);
    const other = world.start('server', 'setpriv', [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      '--bounding-set=-all,+net_admin',
      '--inh-caps=-all,+net_admin',
      '--ambient-caps=+net_admin',
      '--no-new-privs',
      process.execPath,
      'dist/knockd-nft.cjs',
      '--config',
      world.configFile,
      'run',
    ]);
    await other.line(/"event":"loaded"/);
    t.match(await world.list(), 'table inet knockd');
    t.match(readFileSync(`/proc/${other.pid}/status`, 'utf8'), /CapEff:\s+0000000000001000/);
    t.equal((await other.stop()).status, 0);
  },
);
