/** A connection that was let in goes on until it ends, whatever tracking forgets. */
import t, { type Test } from 'tap';
import type { Session } from './host.ts';
import { families, load, loadedWorld, ssh, sshKnocks, until } from './loaded.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const clients = ['client', 'stranger'];

interface Door {
  readonly world: World;
  /** The loaded configuration. */
  readonly config: { readonly services: { readonly ssh: object } };
}

type Make = (t: Test) => Promise<Door>;

function door(config: object, listen: (world: World) => Promise<unknown>, options: object = {}): Make {
  return async t => {
    const whole = { services: { ssh }, ...config };
    const world = await loadedWorld(t, whole, { clients, ...options });
    await listen(world);
    return { world, config: whole };
  };
}

const listenOn22 = (world: World) => world.host('server').listen(22);
const doors: Readonly<Record<string, Make>> = {
  'at input': door({}, listenOn22),
  'that answers with a reset': door({ services: { ssh: { ...ssh, closed: 'reject' } } }, listenOn22),
  'for single use': door({ services: { ssh: { ...ssh, singleUse: true } } }, listenOn22),
  'under policy drop': door({ policy: 'drop' }, listenOn22),
  'of a listener at one address': door({}, async world => {
    for (const family of families) await world.host('server').listen(22, { address: world.server[family] });
  }),
  'before DNAT, of this host': door({ hook: 'prerouting' }, listenOn22),
  'before DNAT, of a container': door(
    { hook: 'prerouting' },
    async world => {
      await world.publish(22, 80);
      await world.host('container').listen(80);
    },
    { container: true },
  ),
};

/** One connection of each family, from port 17000, that was let in by an opening that is over. */
async function letIn(t: Test, world: World): Promise<readonly Session[]> {
  const sessions: Session[] = [];
  for (const family of families) {
    const to = world.server[family];
    await world.host('client').knock(to, sshKnocks);
    const session = await world.host('client').open(to, 22, { localPort: 17_000 });
    t.equal(await session.send('hello'), 'alive');
    sessions.push(session);
    await world.nft(`flush set inet knockd ssh_clients_${family}`);
  }
  return sessions;
}

async function tracked(world: World): Promise<number> {
  const { stdout } = await world.run('server', 'conntrack', ['-L', '-p', 'tcp', '--dport', '22']);
  const ipv6 = await world.run('server', 'conntrack', ['-L', '-f', 'ipv6', '-p', 'tcp', '--dport', '22']);
  return `${stdout}${ipv6.stdout}`.split('\n').filter(line => line.includes('tcp')).length;
}

async function forgetAll(world: World): Promise<void> {
  await world.run('server', 'conntrack', ['-F']);
}

async function setting(world: World, name: string, value: number): Promise<void> {
  const path = `/proc/sys/net/netfilter/${name}`;
  const { status, stderr } = await world.run('server', 'sh', ['-c', `echo ${value} >${path}`]);
  if (status !== 0) throw new Error(stderr);
}

async function allLive(t: Test, sessions: readonly Session[], when: string): Promise<void> {
  for (const [index, session] of sessions.entries())
    t.equal(await session.send('still there?'), 'alive', `${families[index]}, ${when}`);
}

/** Neither the port of the connection nor another one lets in what is new. */
async function closedToNew(t: Test, world: World): Promise<void> {
  for (const family of families) {
    const packet = { protocol: 'tcp', to: world.server[family], port: 22 } as const;
    for (const sourcePort of [17_000, 17_001])
      t.not(await world.host('client').probe({ ...packet, sourcePort }), 'syn-ack', `SYN from ${sourcePort}`);
  }
}

for (const [name, make] of Object.entries(doors))
  t.test(`a connection through a guard ${name} outlives its tracking`, needs, async t => {
    const { world, config } = await make(t);
    const sessions = await letIn(t, world);
    await forgetAll(world);
    await closedToNew(t, world);
    await allLive(t, sessions, 'when tracking was flushed');
    await setting(world, 'nf_conntrack_tcp_timeout_established', 1);
    await allLive(t, sessions, 'with a short time-out');
    await until(
      () => tracked(world),
      count => count === 0,
    );
    await closedToNew(t, world);
    await allLive(t, sessions, 'after a longer pause than that');
    await load(world, {
      ...config,
      services: { ...config.services, other: { ...ssh, ports: [99], sequence: [4, 6, 8] } },
    });
    await forgetAll(world);
    await allLive(t, sessions, 'after a swap');
    await load(world, { ...config, table: 'door' });
    await forgetAll(world);
    await allLive(t, sessions, 'after the table got another name');
    await closedToNew(t, world);
  });

t.test('a connection outlives its tracking, the table, and the record of it', needs, async t => {
  const config = { services: { ssh } };
  const world = await loadedWorld(t, config, { clients });
  await listenOn22(world);
  const sessions = await letIn(t, world);
  await world.nft('flush ruleset');
  await load(world, config);
  await forgetAll(world);
  await allLive(t, sessions, 'after a flush and a load');
  for (const family of families)
    for (const set of ['sessions', 'admitted']) await world.nft(`flush set inet knockd ${set}_${family}`);
  await forgetAll(world);
  await allLive(t, sessions, 'with nothing on record any more');
  await closedToNew(t, world);
});

t.test('a connection goes on even if tracking picks up nothing from the middle', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } }, { clients });
  await listenOn22(world);
  await setting(world, 'nf_conntrack_tcp_loose', 0);
  const sessions = await letIn(t, world);
  await forgetAll(world);
  for (let round = 0; round < 3; round++) await allLive(t, sessions, 'untracked for good');
  await closedToNew(t, world);
});

t.test('a connection goes on even if others exempt it from tracking', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } }, { clients });
  await listenOn22(world);
  const sessions = await letIn(t, world);
  await world.nft(
    `table inet raw {
  chain prerouting { type filter hook prerouting priority raw; tcp dport 22 notrack; }
  chain output { type filter hook output priority raw; tcp sport 22 notrack; }
}`.replaceAll('; }', '\n }'),
  );
  await allLive(t, sessions, 'untracked');
  await closedToNew(t, world);
});

t.test('no packet but those of such a connection gets an answer from the service', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } }, { clients });
  for (const family of families) await world.host('server').listen(22, { address: world.server[family] });
  await letIn(t, world);
  await forgetAll(world);
  for (const family of families)
    for (const host of clients)
      for (const flags of [['ack'], ['fin'], ['rst'], ['syn', 'ack'], ['fin', 'ack'], []] as const) {
        const packet = { protocol: 'tcp', to: world.server[family], port: 22, flags } as const;
        const words = `${host}, ${family}: ${flags.join(' and ') || 'no flags'}`;
        t.equal(await world.host(host).probe({ ...packet, sourcePort: 17_100 }, 100), 'none', words);
      }
});

t.test('a record of a connection goes with its last packet', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await listenOn22(world);
  const [closed, reset] = await letIn(t, world);
  const records = async () => [...(await world.list()).matchAll(/\. 17000 \. 22 timeout/g)].length;
  await until(records, count => count >= 2);
  await closed?.close();
  await reset?.close();
  await world.nft('flush set inet knockd syns_ipv4');
  await world.nft('flush set inet knockd syns_ipv6');
  t.equal(await until(records, count => count === 0), 0);
});

t.test('if there is no room for a record, a client is still let in', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh }, limits: { clients: 1 } });
  await listenOn22(world);
  for (const family of families) {
    await world.host('client').knock(world.server[family], sshKnocks);
    for (let count = 0; count < 3; count++)
      t.equal(await (await world.host('client').open(world.server[family], 22)).send('hello'), 'alive');
  }
});
