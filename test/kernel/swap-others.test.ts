/** Tables that others made or changed: what is ours is put right, what is not is left alone. */
import t from 'tap';
import { load } from './loaded.ts';
import { base, elements, needs } from './swapping.ts';
import { createWorld } from './world.ts';

t.test('a table of our name that is not ours is left alone', needs, async t => {
  const world = await createWorld(t);
  for (const theirs of [
    'table inet knockd {\n chain input { type filter hook input priority 0; policy accept; }\n}',
    'table inet knockd {\n comment "mine"\n set s { type ipv4_addr; }\n}',
    'table inet knockd {\n}',
  ]) {
    await world.nft(`flush ruleset\n${theirs}`);
    const before = await world.list();
    world.write(base);
    const { status, stdout, stderr } = await world.knockd(['load']);
    t.equal(status, 1);
    t.equal(stdout, '');
    t.match(stderr, /^knockd-nft: table inet knockd exists and is not ours .*\n$/);
    t.equal((await world.knockd(['diff'])).status, 2);
    t.equal((await world.knockd(['unload'])).status, 0);
    t.equal(await world.list(), before);
  }
});

const byHand: readonly (readonly [what: string, script: string])[] = [
  ['the table is put to sleep', 'add table inet knockd { flags dormant; }'],
  ['a rule goes in front', 'insert rule inet knockd input tcp dport 22 accept'],
  ['a rule in a guard', 'insert rule inet knockd guard_ssh numgen random mod 2 0 accept'],
  ['a rule with a map of its own', 'insert rule inet knockd input tcp dport vmap { 22 : accept }'],
  [
    'a chain of theirs that leads to ours',
    'add chain inet knockd theirs; add rule inet knockd theirs tcp dport vmap { 22 : goto guard_ssh }; insert rule inet knockd input jump theirs',
  ],
  [
    'a base chain of theirs',
    'add chain inet knockd theirs { type filter hook input priority -300; policy drop; }; add rule inet knockd theirs accept',
  ],
  [
    'a chain on an interface',
    'add chain inet knockd theirs { type filter hook ingress device lo priority 0; }',
  ],
  [
    'a quota in a guard',
    'add quota inet knockd q { over 1 mbytes }; insert rule inet knockd guard_ssh quota name q accept',
  ],
  [
    'a map of counters',
    'add counter inet knockd c; add map inet knockd m { type ipv4_addr : counter; elements = { 10.77.0.2 : "c" }; }; insert rule inet knockd guard_ssh counter name ip saddr map @m',
  ],
  [
    'a map to our chains',
    'add map inet knockd m { type inet_service : verdict; elements = { 22 : goto guard_ssh, 23 : goto knock }; }; insert rule inet knockd input tcp dport vmap @m',
  ],
  [
    'a port leads elsewhere',
    'delete element inet knockd ports { tcp . 22 }; add element inet knockd ports { tcp . 22 : accept }',
  ],
  [
    'a step and an arrival more',
    'add element inet knockd steps { 0 . tcp . 77 : 7 }; add element inet knockd arrivals { 7 : goto open_ssh }',
  ],
  [
    'all addresses allowed',
    'add element inet knockd allowed_ipv4 { 0.0.0.0/0 }; add element inet knockd allowed_ipv6 { ::/0 }',
  ],
  ['an element for all other ports', 'add element inet knockd ports { * : accept }'],
  ['an element for all other places', 'add element inet knockd arrivals { * : goto open_ssh }'],
  ['the base chain is gone', 'flush chain inet knockd input; delete chain inet knockd input'],
  [
    'the base chain is hooked in elsewhere',
    'flush chain inet knockd input; delete chain inet knockd input; add chain inet knockd input { type filter hook output priority 0; }',
  ],
  ['the policy', 'add chain inet knockd input { type filter hook input priority -10; policy drop; }'],
  ['what is closed is open', 'flush chain inet knockd closed_drop'],
  [
    'a set of state of another type',
    'flush chain inet knockd exempt; delete set inet knockd sessions_ipv4; add set inet knockd sessions_ipv4 { type mark; flags timeout; }',
  ],
  [
    'a map of the program that cannot change',
    'flush chain inet knockd input; delete map inet knockd ports; add map inet knockd ports { type inet_proto . inet_service : verdict; flags constant; elements = { tcp . 22 : accept }; }',
  ],
];

t.test('the next load puts right what somebody did to the table by hand', needs, async t => {
  const world = await createWorld(t);
  await world.host('server').listen(22);
  for (const [what, commands] of byHand)
    await t.test(what, async t => {
      await load(world, base);
      await world.nft(`add element inet knockd admin_clients_ipv4 { 192.0.2.1 }\n${commands}`);
      t.equal((await world.knockd(['diff'])).status, 1, 'diff sees it');
      t.match(JSON.parse((await world.knockd(['status', '--json'])).stdout || '{}'), {
        loaded: true,
        inSync: false,
      });
      t.match(await world.knockd(['load']), { status: 0, stderr: '' });
      t.equal((await world.knockd(['diff'])).status, 0, 'all is as it should be');
      t.equal((await elements(world, 'admin_clients_ipv4')).length, 1, 'who was in is in');
      t.equal(await world.host('client').connect(world.server.ipv4, 22, { timeout: 100 }), 'silent');
      await world.nft(commands);
      t.equal((await world.knockd(['unload'])).status, 0, 'it can be unloaded as well');
      t.equal(await world.list(), '');
    });
});

t.test('a grant to everybody and odd state are no damage', needs, async t => {
  const world = await createWorld(t);
  await load(world, base);
  await world.nft(`
    add element inet knockd ssh_clients_ipv4 { * }
    add element inet knockd started_ipv4 { 192.0.2.9 timeout 1h : 12345 }
    add element inet knockd progress_ipv4 { 192.0.2.9 : 0 }
    add element inet knockd admin_users_ipv4 { 192.0.2.9 : 99 }
    add element inet knockd ssh_clients_ipv4 { 192.0.2.1 timeout 1h comment "by hand" }`);
  t.equal((await world.knockd(['status'])).status, 0);
  for (const config of [
    base,
    { ...base, limits: { clients: 100, progress: 100 } },
    { ...base, table: 'door' },
  ]) {
    await load(world, config);
    t.equal((await world.knockd(['diff'])).status, 0);
    const { status, stdout } = await world.knockd(['status', '--json']);
    t.equal(status, 0);
    t.match(JSON.parse(stdout || '{}').services?.ssh.clients, [{}, {}], 'both grants');
  }
});

t.test('a chain of another table on an interface is none of our business', needs, async t => {
  const world = await createWorld(t);
  await load(world, base);
  await world.nft(
    'add table inet theirs; add chain inet theirs c { type filter hook ingress device eth0 priority 0; }',
  );
  t.equal((await world.knockd(['diff'])).status, 0);
  t.equal((await world.knockd(['status'])).status, 0);
  await load(world, { ...base, strict: false });
  t.equal((await world.knockd(['unload'])).status, 0);
  t.match(await world.list(), /^table inet theirs \{\n\tchain c \{[^}]*\n\t\}\n\}\n$/);
});

t.test('tables beside ours are never touched', needs, async t => {
  const world = await createWorld(t);
  const foreign = [
    'ip knockd',
    'ip6 knockd',
    'inet knockd2',
    'inet filter',
    'netdev knockd',
    'arp knockd',
    'bridge knockd',
  ];
  const made = foreign.filter(it => !/netdev|arp|bridge/.test(it));
  await world.nft(
    made
      .map(
        it => `table ${it} {
  map ports { type inet_service : verdict; elements = { 1 : accept }; }
  set ssh_clients_ipv4 { type mark; flags timeout; }
  counter ssh_opened { packets 7 bytes 7; }
  chain input { type filter hook input priority 10; policy accept; tcp dport vmap @ports; }
}`,
      )
      .join('\n'),
  );
  const handles = async () => {
    const { stdout } = await world.run('server', 'nft', ['-a', 'list', 'ruleset']);
    const tables = stdout.split(/^(?=table )/m).filter(it => !/^table inet (knockd|door) /.test(it));
    return tables.join('');
  };
  const before = await handles();
  for (const config of [base, { ...base, table: 'door' }, { services: {} }, base]) await load(world, config);
  await world.knockd(['status']);
  await world.knockd(['diff']);
  t.equal((await world.knockd(['unload'])).status, 0);
  t.equal(await handles(), before);
});
