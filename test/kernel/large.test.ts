/** As large as it gets: 10,000 sequences, and what a thousand services cost. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { createWorld, missing, sendsLarge, type World } from './world.ts';

const asRoot = { skip: missing('namespaces', 'knockd') || (!sendsLarge && 'needs root: SO_SNDBUFFORCE') };
const maximum = Number(readFileSync('/proc/sys/net/core/wmem_max', 'utf8'));

/** Sequences of 4 knocks that share neither beginnings nor ports with a service. */
function manyServices(count: number, users: number) {
  const knock = (number: number) => 20_000 + (number % 40_000);
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `service-${index}`,
      {
        ports: [1000 + index],
        sequences: Object.fromEntries(
          Array.from({ length: users }, (_, user) => {
            const number = index * users + user;
            return [`user${user}`, [number, number * 3 + 1, number * 7 + 2, number * 11 + 5].map(knock)];
          }),
        ),
        knockTimeout: '5m',
        openFor: '5m',
      },
    ]),
  );
}

/** With all the time that a busy machine takes. */
async function knockd(
  world: World,
  ...words: string[]
): Promise<{ status: number; stdout: string; stderr: string }> {
  const { status, stdout, stderr } = await world.knockd(words, { timeout: 3_600_000 });
  return { status, stdout, stderr: stderr.replace(/^.*: warning: .*\n/gm, '') };
}

t.test('10,000 sequences load, agree, open, swap in little, and go', asRoot, async t => {
  const world = await createWorld(t);
  const services = manyServices(2500, 4);
  world.write({ services });
  t.match(await knockd(world, 'load'), { status: 0, stderr: '' });
  t.same(await knockd(world, 'diff'), { status: 0, stdout: '', stderr: '' }, 'kernel and file agree');

  const [name, port, user] = ['service-1234', 2234, 'user2'] as const;
  const sequence = services[name]?.sequences[user] ?? [];
  await world.host('server').listen(port);
  for (const to of [world.server.ipv4, world.server.ipv6]) {
    t.equal(await world.host('client').connect(to, port), 'silent');
    await world.host('client').knock(
      to,
      sequence.map(knock => `${knock}/tcp`),
    );
    t.equal(await world.host('client').connect(to, port), 'open', 'a knock opens its service');
    t.equal(await world.host('client').connect(to, port + 1), 'silent', 'and no other');
  }
  const { clients } = JSON.parse((await knockd(world, 'status', '--json')).stdout).services[name];
  t.same(
    clients.map(({ user }: { user: string }) => user),
    [user, user],
    'status knows whose sequence it was',
  );

  const changed = { ...services, [name]: { ...services[name], openFor: '1h' } };
  world.write({ services: changed });
  const swap = await knockd(world, 'load', '--json');
  t.equal(swap.status, 0, swap.stderr);
  const { event, objects, changes } = JSON.parse(swap.stdout);
  t.equal(event, 'swapped');
  t.ok(objects < 30, `one service changed: ${objects} objects`);
  t.same(changes, [{ key: `services.${name}.openFor`, before: '5m', after: '1h' }]);
  t.equal(await world.host('client').connect(world.server.ipv4, port), 'open', 'who was in stays in');

  t.equal((await knockd(world, 'unload')).status, 0);
  t.equal(JSON.parse((await knockd(world, 'status', '--json')).stdout).loaded, false);
});

/** In KiB. */
function memory(): { slab: number; vmalloc: number } {
  const info = readFileSync('/proc/meminfo', 'utf8');
  const of = (name: string) => Number(info.match(new RegExp(`^${name}: +(\\d+)`, 'm'))?.[1]);
  return { slab: of('Slab'), vmalloc: of('VmallocUsed') };
}

t.test('a thousand services do not cost a megabyte for each of their sets', asRoot, async t => {
  const world = await createWorld(t);
  const before = memory();
  world.write({ services: manyServices(1000, 1) });
  t.equal((await knockd(world, 'load')).status, 0);
  const after = memory();
  const grown = (after.slab - before.slab + after.vmalloc - before.vmalloc) / 1024;
  t.comment(`${grown.toFixed(0)} MiB`);
  t.ok(grown < 1000, `4,000 sets of state took ${grown.toFixed(0)} MiB`);
});

t.test(
  'a transaction that is too large for an ordinary user is reported with its size, and the setting to raise',
  {
    skip:
      missing('namespaces', 'knockd') ||
      (sendsLarge && 'root is not limited') ||
      (maximum > 8_000_000 && `net.core.wmem_max is large enough: ${maximum}`),
  },
  async t => {
    const world = await createWorld(t);
    world.write({ services: manyServices(2500, 4) });
    const { status, stdout, stderr } = await knockd(world, 'load');
    t.equal(status, 1);
    t.equal(stdout, '');
    t.match(stderr, /^knockd-nft: the transaction takes \d+ bytes, .* net\.core\.wmem_max to \d+.*\n$/);
    t.equal(
      JSON.parse((await knockd(world, 'status', '--json')).stdout).loaded,
      false,
      'nothing was changed',
    );
  },
);
