/** As many clients are in as fit, in both families, while the ruleset changes: all stay in, and strangers stay out. */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { ssh, status, until } from '../kernel/loaded.ts';
import { createWorld, missing, sendsLarge, type World } from '../kernel/world.ts';

const skip =
  missing('namespaces', 'nft', 'knockd') ||
  (!sendsLarge && 'such transactions need the CAP_NET_ADMIN of the machine');
/** Of each family: all that fit, without the client that connects. */
const FULL = 65_534;
/** In one transaction of nft's. */
const PART = 13_107;

const before = { services: { ssh: { ...ssh, openFor: '10h' } } };
const web = { ports: [8080], sequence: [7001, 7003, 7005] };

async function crowded(t: Test): Promise<{ readonly world: World; readonly env: Record<string, string> }> {
  const world = await createWorld(t, { clients: ['client', 'stranger'] });
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path);
  await world.host('server').listen(22);
  world.write(before);
  const { status: loaded, stderr } = await world.knockd(['load'], { env });
  if (loaded !== 0) throw new Error(stderr);
  const address = {
    ipv4: (index: number) => `10.1.${index >> 8}.${index & 255}`,
    ipv6: (index: number) => `2001:db8::${index.toString(16)}`,
  };
  for (const family of ['ipv4', 'ipv6'] as const)
    for (let first = 0; first < FULL; first += PART) {
      const part = Array.from({ length: Math.min(PART, FULL - first) }, (_, index) =>
        address[family](first + index),
      );
      const all = first === 0 ? [...part, world.client[family]] : part;
      await world.nft(
        `add element inet knockd ssh_clients_${family} { ${all.map(it => `${it} timeout 10h`).join(', ')} }`,
      );
    }
  return { world, env };
}

/** Runs `act` while a client connects, one time after the other. */
async function underTraffic(t: Test, world: World, what: string, act: () => Promise<void>): Promise<void> {
  const refused = async () => (await status(world)).services.ssh?.refused ?? 0;
  const before = await refused();
  let over = false;
  const connecting = (async () => {
    let count = 0;
    for (; !over; count++) {
      // a busy machine may be late; the counter tells whether it was the guard
      const seen = await world.host('client').connect(world.server.ipv4, 22, { timeout: 10_000 });
      if (seen !== 'open') t.fail(`${what}: the client finds the port ${seen}`);
    }
    return count;
  })();
  const start = performance.now();
  await act();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  over = true;
  process.stderr.write(`${what}: ${seconds} s, ${await connecting} connections let in\n`);
  t.ok((await refused()) <= before, `${what}: the guard refused none of them`);
  t.equal(
    await world.host('stranger').connect(world.server.ipv4, 22),
    'silent',
    `${what}: a stranger is out`,
  );
  const { clients = [] } = (await status(world)).services.ssh ?? {};
  t.equal(clients.length, 2 * (FULL + 1), `${what}: all are in`);
}

t.test('131,070 clients stay in, and a stranger out', { skip }, async t => {
  const { world, env } = await crowded(t);
  const load = async (config: object) => {
    world.write(config);
    const { status, stderr } = await world.knockd(['load'], { env, timeout: 300_000 });
    t.equal(status, 0, stderr);
    t.equal(stderr, '', 'nothing is dropped');
  };
  await underTraffic(t, world, 'a swap', () => load({ services: { ...before.services, web } }));
  await underTraffic(t, world, 'another policy', () => load({ ...before, policy: 'drop' }));
  await underTraffic(t, world, 'a table of another name', () => load({ ...before, table: 'other' }));
  await underTraffic(t, world, 'and back', () => load(before));
  const supervisor = world.startKnockd(['run'], env);
  await supervisor.line(/"event":"unchanged"/, 300_000);
  await world.nft('flush ruleset');
  const start = performance.now();
  const reach = () => world.host('stranger').connect(world.server.ipv4, 22);
  await until(reach, seen => seen === 'silent', 300);
  process.stderr.write(`a restore: guarded after ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  await supervisor.line(/"event":"restored"/, 300_000);
  await underTraffic(t, world, 'after a restore', async () => {});
  world.write({ services: { door: before.services.ssh } });
  await supervisor.line(/"event":"swapped"/, 300_000);
  t.equal(
    await world.host('stranger').connect(world.server.ipv4, 22),
    'silent',
    'a service of another name guards',
  );
  t.equal((await supervisor.stop()).status, 0);
});
