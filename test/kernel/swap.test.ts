/** Swapping rulesets: what changes, and what stays. */
import t, { type Test } from 'tap';
import { load, ssh, sshKnocks } from './loaded.ts';
import {
  admin,
  base,
  built,
  counters,
  echo,
  elements,
  needs,
  program,
  type SetElement,
  script,
  state,
} from './swapping.ts';
import { createWorld, type World } from './world.ts';

async function loadJson(world: World, config: object): Promise<{ event: string; objects: number }> {
  world.write(config);
  const { status, stdout, stderr } = await world.knockd(['load', '--json']);
  if (status !== 0) throw new Error(`load ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

const generationScript = `
  import { Connection } from ${built('netlink/connection.js')};
  import { readGeneration } from ${built('nftables/transaction.js')};
  import { NETLINK_NETFILTER, openSocket } from ${built('netlink/socket.js')};
  const connection = new Connection(openSocket(NETLINK_NETFILTER));
  console.log(await readGeneration(connection));
  connection.close();`;

/**
 * A state set holds the same elements after as before, with no more time left than before, and no less than the time
 * that passed.
 */
function sameState(t: Test, after: readonly SetElement[], before: readonly SetElement[], what: string) {
  const rest = ({ key, data, timeout }: SetElement) => ({ key, data, timeout });
  t.ok(before.length > 0, `${what} held something`);
  t.same(after.map(rest), before.map(rest), what);
  for (const [index, { expires }] of after.entries()) {
    const was = before[index]?.expires;
    if (was === undefined) t.equal(expires, undefined, `${what}: for good`);
    else
      t.ok(
        expires !== undefined && expires <= was && expires > was - 60,
        `${what}: ${expires} s of ${was} s`,
      );
  }
}

t.test('loading twice changes nothing, not even the generation', needs, async t => {
  const world = await createWorld(t);
  await load(world, { services: { ssh, admin }, allow: ['10.0.0.0/8', '::/0'], policy: 'drop' });
  const before = [await program(world), await script(world, generationScript)];
  const again = await world.knockd(['load']);
  t.match(again.stdout, /^unchanged: /);
  t.match(
    await loadJson(world, { policy: 'drop', allow: ['::/0', '10.0.0.0/8'], services: { ssh, admin } }),
    { event: 'unchanged', objects: 0 },
    'nor does another order of keys',
  );
  t.same([await program(world), await script(world, generationScript)], before);
});

/** Grants and connections by hand, real progress and real counts, in a new table with this configuration. */
async function enliven(t: Test, world: World, config: object): Promise<void> {
  await world.nft('flush ruleset');
  await load(world, config);
  await world.nft(`
    add element inet knockd ssh_clients_ipv4 { 192.0.2.1 timeout 1h expires 30m, 192.0.2.2 timeout 2h, 192.0.2.3 }
    add element inet knockd ssh_clients_ipv6 { 2001:db8::1 timeout 1h expires 30m, 2001:db8::2 }
    add element inet knockd sessions_ipv4 { 192.0.2.1 . 40000 . 22 timeout 1d expires 5h }
    add element inet knockd sessions_ipv6 { 2001:db8::1 . 40000 . 22 timeout 1d expires 5h }`);
  const { server } = world;
  for (const to of [server.ipv4, server.ipv6]) {
    await world.host('client').knock(to, ['4001/tcp', '4007/tcp', '4009/tcp', ...sshKnocks.slice(0, 2)]);
    await world.host('knocker').knock(to, [sshKnocks[0] ?? '']);
    t.equal(await world.host('knocker').connect(to, 22, { timeout: 50 }), 'silent');
  }
}

async function lively(t: Test): Promise<World> {
  const world = await createWorld(t, { clients: ['client', 'knocker'] });
  await enliven(t, world, base);
  return world;
}

const stateNames = ['ssh_clients', 'admin_clients', 'admin_users', 'started', 'progress', 'sessions'].flatMap(
  name => [`${name}_ipv4`, `${name}_ipv6`],
);

const changes: readonly (readonly [name: string, change: object, shows: RegExp, table?: string])[] = [
  ['larger limits', { limits: { progress: 70000, clients: 90000 } }, /size 90000/],
  ['smaller limits', { limits: { progress: 1000, clients: 500 } }, /size 500/],
  ['priority', { priority: -5 }, /priority -5/],
  ['hook', { hook: 'prerouting' }, /hook prerouting priority -150/],
  ['policy', { policy: 'drop' }, /policy drop/],
  ['table', { table: 'door' }, /^table inet door/m, 'door'],
  ['allow', { allow: ['198.51.100.0/24'] }, /198\.51\.100\.0\/24/],
  ['interfaces', { interfaces: ['eth*'] }, /iifname "eth\*" return/],
  ['closed', { closed: 'reject' }, /goto closed_reject/],
  ['strict', { strict: false }, /^(?!.*jump stray)/s],
  ['public', { public: [80] }, /tcp \. 80 : accept|6 \. 80 : accept/],
  ['log', { log: { refused: true, group: 5 } }, /log prefix "refused ssh" group 5/],
  [
    'openFor',
    { services: { ssh: { ...ssh, openFor: '7s' }, admin } },
    /update @ssh_clients_ipv4 \{ ip saddr timeout 7s/,
  ],
  ['singleUse', { services: { ssh: { ...ssh, singleUse: true }, admin } }, /delete @ssh_clients_ipv4/],
  ['a further service', { services: { ssh, admin, echo } }, /chain guard_echo/],
];

/** Turns the table into what version 1.0.0 makes: each element of a knock port goes to chain `knock` itself. */
async function asBefore(world: World): Promise<void> {
  const input = (await world.run('server', 'nft', ['-a', 'list', 'chain', 'inet', 'knockd', 'input'])).stdout;
  const [, rule, handle] = /^\s*(.* vmap @ports) goto knock # handle (\d+)$/m.exec(input) ?? [];
  const ports = (await world.run('server', 'nft', ['list', 'map', 'inet', 'knockd', 'ports'])).stdout;
  const knocks = [...ports.matchAll(/(\w+ \. \d+) : continue/g)].map(([, key]) => key);
  await world.nft(`
    replace rule inet knockd input handle ${handle} ${rule}
    delete element inet knockd ports { ${knocks.join(', ')} }
    add element inet knockd ports { ${knocks.map(key => `${key} : goto knock`).join(', ')} }`);
}

t.test('from the table of version 1.0.0 too, clients that are in or knocking stay so', needs, async t => {
  const world = await createWorld(t, { clients: ['client', 'knocker', 'guest'] });
  await world.host('server').listen(22);
  for (const change of [{}, { hook: 'prerouting' }, { policy: 'drop' }]) {
    await enliven(t, world, base);
    await asBefore(world);
    const guest = world.host('guest');
    await guest.knock(world.server.ipv4, sshKnocks);
    t.equal(await guest.connect(world.server.ipv4, 22), 'open', 'that table works, too');
    const before = await state(world);
    t.equal((await loadJson(world, { ...base, ...change })).event, 'swapped');
    const after = await state(world);
    for (const set of stateNames) sameState(t, after.get(set) ?? [], before.get(set) ?? [], set);
    t.equal((await world.knockd(['diff'])).status, 0, 'diff has nothing more to say');
    const knocker = world.host('knocker');
    await knocker.knock(world.server.ipv4, sshKnocks.slice(1));
    t.equal(await knocker.connect(world.server.ipv4, 22), 'open', 'a client in mid-sequence goes on');
  }
});

t.test('each change takes effect, and clients that are in or knocking stay so', needs, async t => {
  const world = await createWorld(t, { clients: ['client', 'knocker'] });
  await world.host('server').listen(22);
  for (const [name, change, shows, table = 'knockd'] of changes)
    await t.test(name, async t => {
      await enliven(t, world, base);
      const [untouched, counted] = [await program(world), await counters(world)];
      for (const [config, from, to] of [
        [{ ...base, ...change }, 'knockd', table],
        [base, table, 'knockd'],
      ] as const) {
        const before = await state(world, from);
        t.equal((await loadJson(world, config)).event, 'swapped');
        const after = await state(world, to);
        t.equal((await world.knockd(['diff'])).status, 0, 'diff has nothing more to say');
        if (config !== base) t.match(await program(world), shows);
        for (const set of stateNames) sameState(t, after.get(set) ?? [], before.get(set) ?? [], set);
        t.match(await counters(world), counted, 'counters go on');
      }
      t.equal(await program(world), untouched, 'and all the way back');
      const knocker = world.host('knocker');
      await knocker.knock(world.server.ipv4, sshKnocks.slice(1));
      t.equal(
        await knocker.connect(world.server.ipv4, 22),
        'open',
        'the sequence was finished two swaps later',
      );
    });
});

t.test('clients that are in stay in when a client becomes a larger network', needs, async t => {
  const world = await lively(t);
  const { server, client } = world;
  await world.host('server').listen(22);
  await world.nft(`add element inet knockd ssh_clients_ipv4 { ${client.ipv4} timeout 1h expires 30m }
    add element inet knockd ssh_clients_ipv6 { ${client.ipv6} timeout 1h expires 30m }`);
  await load(world, { ...base, prefix: { ipv4: 24, ipv6: 64 } });
  for (const to of [server.ipv4, server.ipv6])
    t.equal(await world.host('client').connect(to, 22), 'open', `still in, ${to}`);
  const network = (await elements(world, 'ssh_clients_ipv4')).find(({ key }) => key === '10.77.0.0');
  t.ok(
    network?.expires && network.expires <= 1800 && network.expires > 1740,
    `${network?.expires} s of 1800 s`,
  );
});

t.test('clients that are in stay in when there is room for fewer', needs, async t => {
  const world = await lively(t);
  await load(world, { ...base, limits: { progress: 1, clients: 2 } });
  const left = (await elements(world, 'ssh_clients_ipv4')).map(({ key }) => key);
  t.ok(left.includes('192.0.2.2') && left.includes('192.0.2.3'), 'at least those with most time left');
  t.equal((await world.knockd(['diff'])).status, 0);
});

t.test('a service that goes takes its clients and counters with it, and comes back empty', needs, async t => {
  const world = await lively(t);
  await load(world, { services: { admin } });
  t.notMatch(await program(world), /ssh/);
  t.equal((await elements(world, 'admin_clients_ipv4')).length, 1, 'the other stays');
  await load(world, base);
  t.same(await elements(world, 'ssh_clients_ipv4'), []);
  t.match(await counters(world), { ssh_refused: 0, admin_opened: 2 });
});

t.test('grants by hand survive a swap, also those without an end', needs, async t => {
  const world = await createWorld(t);
  await load(world, base);
  const { client, server } = world;
  await world.host('server').listen(22);
  await world.nft(`add element inet knockd ssh_clients_ipv4 { ${client.ipv4} }
    add element inet knockd ssh_clients_ipv6 { ${client.ipv6} timeout 1h }`);
  for (const config of [
    { ...base, strict: false },
    { ...base, limits: { clients: 10 } },
    base,
    { ...base, table: 'door' },
  ]) {
    await load(world, config);
    for (const to of [server.ipv4, server.ipv6]) t.equal(await world.host('client').connect(to, 22), 'open');
  }
});
