/** Swapping rulesets under fire (SPEC 4.4): what stays, what changes, and that no packet notices. */
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { load } from './loaded.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };

const patient = { knockTimeout: '1h', openFor: '1h' };
const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234], ...patient };
const knocks = ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp'];
const admin = {
  ports: [8443],
  sequences: { alice: [4001, 4003, 4005], bob: [4001, 4007, 4009] },
  ...patient,
};
const echo = { ports: ['7777/udp'], sequence: [5001, 5003, 5005], ...patient };

interface SetElement {
  readonly key: string;
  readonly data: number | undefined;
  /** Seconds; undefined for ever. */
  readonly timeout: number | undefined;
  readonly expires: number | undefined;
}

type JsonElement =
  | string
  | { elem: { val: string | object; timeout?: number; expires?: number } }
  | { concat: unknown }
  | [JsonElement, number];

function readElement(element: JsonElement): SetElement {
  if (Array.isArray(element)) return { ...readElement(element[0]), data: element[1] };
  const full = typeof element === 'object' && 'elem' in element ? element.elem : { val: element };
  const { val, timeout, expires }: { val: string | object; timeout?: number; expires?: number } = full;
  return { key: typeof val === 'string' ? val : JSON.stringify(val), data: undefined, timeout, expires };
}

/** Objects of one kind on the server, as nft's JSON has them. */
async function listed<T>(world: World, args: readonly string[], kind: string): Promise<T[]> {
  const { stdout, stderr, status } = await world.run('server', 'nft', ['--json', 'list', ...args]);
  if (status !== 0) throw new Error(`nft list ${args.join(' ')}: ${stderr}`);
  const { nftables } = JSON.parse(stdout) as { nftables: Record<string, T>[] };
  return nftables.flatMap(object => object[kind] ?? []);
}

async function elements(world: World, name: string, table = 'knockd'): Promise<SetElement[]> {
  const kind = /_users_|^started_|^progress_/.test(name) ? 'map' : 'set';
  const [set] = await listed<{ elem?: JsonElement[] }>(world, [kind, 'inet', table, name], kind);
  return (set?.elem ?? []).map(readElement).sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function counters(world: World): Promise<Record<string, number>> {
  const found = await listed<{ name: string; packets: number }>(world, ['counters'], 'counter');
  return Object.fromEntries(found.map(({ name, packets }) => [name, packets]));
}

/** `nft list` without what may differ between equal rulesets: the order of objects and elements, counts, times left. */
async function program(world: World, args: readonly string[] = ['ruleset']): Promise<string> {
  const { stdout, status } = await world.run('server', 'nft', ['-n', 'list', ...args]);
  if (status !== 0) return 'none';
  const objects = stdout
    .replace(/expires \w+/g, '')
    .replace(/packets \d+ bytes \d+/g, '')
    .replace(/(?<=set knockers_[^}]*)elements = [^}]*\}/g, '')
    .replace(/^\t?\}\n/gm, '')
    .split(/^(?=\t\w+ \S+ \{)/m)
    .map(object => object.trimEnd())
    .map(object => object.replace(/(?<=elements = \{)[^}]*/, list => list.split(/,\s+/).sort().join()));
  return objects.sort().join('\n');
}

async function loadJson(world: World, config: object): Promise<{ event: string; objects: number }> {
  world.write(config);
  const { status, stdout, stderr } = await world.knockd(['load', '--json']);
  if (status !== 0) throw new Error(`load ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Modules of the build, for scripts that run on the server. */
const built = (path: string) => pathToFileURL(`build/src/${path}`).href;

const generationScript = `
  import { Connection } from ${JSON.stringify(built('netlink/connection.js'))};
  import { readGeneration } from ${JSON.stringify(built('netlink/nfnetlink.js'))};
  import { NETLINK_NETFILTER, openSocket } from ${JSON.stringify(built('netlink/socket.js'))};
  const connection = new Connection(openSocket(NETLINK_NETFILTER));
  console.log(await readGeneration(connection));
  connection.close();`;

/** Loads the configurations in turn, `rounds` times each, as fast as it goes; in one process. */
const swapScript = `
  import { readConfig } from ${JSON.stringify(built('config/read.js'))};
  import { compile } from ${JSON.stringify(built('ruleset/compile.js'))};
  import { withKernel } from ${JSON.stringify(built('loader/access.js'))};
  import { load } from ${JSON.stringify(built('loader/load.js'))};
  const [rounds, ...files] = process.argv.slice(1);
  const rulesets = files.map(file => compile(readConfig(file, {}).config, 'test'));
  await withKernel(async ({ connection, sessions }) => {
    for (let round = 0; round < Number(rounds); round++)
      for (const ruleset of rulesets) await load(connection, ruleset, sessions);
  });`;

async function script(world: World, source: string, args: readonly string[] = [], timeout = 300_000) {
  const { status, stdout, stderr } = await world.run(
    'server',
    process.execPath,
    ['--input-type=module', '-e', source, ...args],
    { timeout },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** What a state set held before, it holds after, with no more time left than before and no less than was spent. */
function sameState(t: Test, after: readonly SetElement[], before: readonly SetElement[], what: string) {
  const rest = ({ key, data, timeout }: SetElement) => ({ key, data, timeout });
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

/** Grants and connections by hand, real progress and real counts, in a table with this configuration. */
async function lively(t: Test, config: object): Promise<World> {
  const world = await createWorld(t, { clients: ['client', 'knocker'] });
  await load(world, config);
  await world.nft(`
    add element inet knockd ssh_clients_ipv4 { 192.0.2.1 timeout 1h expires 30m, 192.0.2.2 timeout 2h, 192.0.2.3 }
    add element inet knockd ssh_clients_ipv6 { 2001:db8::1 timeout 1h expires 30m, 2001:db8::2 }
    add element inet knockd sessions_ipv4 { 192.0.2.1 . 40000 . 22 timeout 1d expires 5h }
    add element inet knockd sessions_ipv6 { 2001:db8::1 . 40000 . 22 timeout 1d expires 5h }`);
  const { server } = world;
  for (const to of [server.ipv4, server.ipv6]) {
    await world.host('client').knock(to, ['4001/tcp', '4007/tcp', '4009/tcp', ...knocks.slice(0, 2)]);
    await world.host('knocker').knock(to, [knocks[0] ?? '']);
    t.equal(await world.host('knocker').connect(to, 22, { timeout: 50 }), 'silent');
  }
  return world;
}

const stateNames = ['ssh_clients', 'admin_clients', 'admin_users', 'started', 'progress', 'sessions'].flatMap(
  name => [`${name}_ipv4`, `${name}_ipv6`],
);

async function state(world: World, table = 'knockd'): Promise<Map<string, SetElement[]>> {
  const all = new Map<string, SetElement[]>();
  for (const name of stateNames) all.set(name, await elements(world, name, table));
  return all;
}

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

const base = { services: { ssh, admin } };

for (const [name, change, shows, table = 'knockd'] of changes)
  t.test(`${name}: the change takes effect, and who is in or knocking stays so`, needs, async t => {
    const world = await lively(t, base);
    const [untouched, counted] = [await program(world), await counters(world)];
    for (const [config, at] of [
      [{ ...base, ...change }, table],
      [base, 'knockd'],
    ] as const) {
      const from = at === 'knockd' && config === base ? table : 'knockd';
      const before = await state(world, from);
      t.equal((await loadJson(world, config)).event, 'swapped');
      t.equal((await world.knockd(['diff'])).status, 0, 'diff has nothing more to say');
      if (config !== base) t.match(await program(world), shows);
      const after = await state(world, at);
      for (const set of stateNames) sameState(t, after.get(set) ?? [], before.get(set) ?? [], set);
      t.match(await counters(world), counted, 'counters go on');
    }
    t.equal(await program(world), untouched, 'and all the way back');
    const knocker = world.host('knocker');
    await world.host('server').listen(22);
    await knocker.knock(world.server.ipv4, knocks.slice(1));
    t.equal(
      await knocker.connect(world.server.ipv4, 22),
      'open',
      'the sequence was finished two swaps later',
    );
  });

t.test('who is in stays in when a client becomes a larger network', needs, async t => {
  const world = await lively(t, base);
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

t.test('who is in stays in when there is room for fewer', needs, async t => {
  const world = await lively(t, base);
  await load(world, { ...base, limits: { progress: 1, clients: 2 } });
  const left = (await elements(world, 'ssh_clients_ipv4')).map(({ key }) => key);
  t.ok(left.includes('192.0.2.2') && left.includes('192.0.2.3'), 'at least those with most time left');
  t.equal((await world.knockd(['diff'])).status, 0);
});

t.test('a service that goes takes its clients and counters with it, and comes back empty', needs, async t => {
  const world = await lively(t, base);
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

/** Counts what comes to a port from 198.18.0.0/16 (strangers) and 198.19.0.0/16 (clients), before and after our table. */
async function watchGuards(world: World): Promise<void> {
  const count = (from: string, name: string) =>
    ['22', '8443'].map(port => `ip saddr ${from} tcp dport ${port} counter name ${name}`).join('\n    ') +
    `\n    ip saddr ${from} udp dport 7777 counter name ${name}`;
  await world.nft(`table inet witness {
  counter strangers { }
  counter strangers_in { }
  counter clients { }
  counter clients_in { }
  chain before {
    type filter hook prerouting priority -400
    ${count('198.18.0.0/16', 'strangers')}
    ${count('198.19.0.0/16', 'clients')}
  }
  chain after {
    type filter hook input priority 400
    ${count('198.18.0.0/16', 'strangers_in')}
    ${count('198.19.0.0/16', 'clients_in')}
  }
}`);
}

async function guardCounts(world: World): Promise<Record<string, number>> {
  const { strangers = 0, strangers_in = 0, clients = 0, clients_in = 0 } = await counters(world);
  return { strangers, strangers_in, clients, clients_in };
}

/** Floods while the work lasts, as fast as it goes: in turn 190 strangers, and 10 clients (each leaves a flow). */
async function underFire<T>(world: World, work: Promise<T>): Promise<T> {
  let busy = true;
  const fire = async () => {
    while (busy)
      await world.host('client').flood({
        to: world.server.ipv4,
        knocks: ['22/tcp', '8443/tcp', '7777/udp'],
        sources: { first: '198.18.255.66', count: 200 },
        count: 60_000,
      });
  };
  const fired = fire();
  try {
    return await work;
  } finally {
    busy = false;
    await fired;
  }
}

async function grantFlood(world: World, table = 'knockd'): Promise<void> {
  const sources = Array.from({ length: 10 }, (_, index) => `198.19.0.${index}`).join(', ');
  await world.nft(
    ['ssh', 'admin', 'echo']
      .map(it => `add element inet ${table} ${it}_clients_ipv4 { ${sources} }`)
      .join('\n'),
  );
}

/** Writes a configuration to a file of its own. */
async function kept(world: World, config: object, number: number): Promise<string> {
  const file = `${world.configFile}.${number}`;
  await world.run('server', 'cp', ['-p', world.write(config), file]);
  return file;
}

/** Swaps between the configurations under fire; all of them guard ssh, admin and echo. */
async function swapUnderFire(t: Test, configs: readonly object[], rounds: number) {
  const world = await createWorld(t);
  for (const listening of [22, 8443]) await world.host('server').listen(listening);
  await load(world, configs.at(-1) ?? {});
  await watchGuards(world);
  await grantFlood(world);
  const files: string[] = [];
  for (const config of configs) files.push(await kept(world, config, files.length));
  await underFire(world, script(world, swapScript, [String(rounds), ...files]));
  return { world, counts: await guardCounts(world) };
}

const all = { services: { ssh, admin, echo } };
const other = { ports: [99], sequence: [5101, 5103, 5105] };

const manySwaps: readonly (readonly [name: string, configs: readonly object[]])[] = [
  [
    'services, sequences and closed come and go',
    [
      { services: { ...all.services, other }, closed: 'reject' },
      { services: { ...all.services, ssh: { ...ssh, sequence: [10000, 2345, 3456, 1236] } }, strict: false },
      { services: { ...all.services, admin: { ...admin, sequences: { carol: [4101, 4103, 4105] } } } },
      all,
    ],
  ],
  [
    'allow, interfaces, limits, policy and users change',
    [
      { ...all, allow: ['192.0.2.0/24'], policy: 'drop' },
      { ...all, interfaces: ['eth0'], limits: { clients: 1000, progress: 1000 } },
      { ...all, log: { refused: true }, public: [80] },
      all,
    ],
  ],
  ['the priority changes', [{ ...all, priority: -20 }, all]],
  ['the hook changes', [{ ...all, hook: 'prerouting' }, all]],
  ['the table changes', [{ ...all, table: 'door' }, all]],
];

for (const [name, configs] of manySwaps)
  t.test(`1000 swaps let no stranger in and turn no client away: ${name}`, needs, async t => {
    const { counts } = await swapUnderFire(t, configs, 1000 / configs.length);
    t.comment(JSON.stringify(counts));
    t.equal(counts.strangers_in, 0, `of ${counts.strangers} packets of strangers`);
    t.equal(counts.clients_in, counts.clients, 'packets of clients');
    t.ok((counts.strangers ?? 0) > 1000 && (counts.clients ?? 0) > 100, 'there was fire');
  });

t.test('1000 swaps let no stranger in: a port goes from one service to another', needs, async t => {
  const renamed = { services: { ssh2: ssh, admin, echo } };
  const { counts } = await swapUnderFire(t, [renamed, all], 500);
  t.equal(counts.strangers_in, 0, `of ${counts.strangers} packets of strangers`);
});

t.test('200 loads by the command itself, with real connections beside them', needs, async t => {
  const world = await createWorld(t, { clients: ['client', 'knocker'] });
  const server = world.host('server');
  await server.listen(22);
  await server.listen(7777, { protocol: 'udp' });
  await load(world, all);
  const { ipv4, ipv6 } = world.client;
  await world.nft(
    ['ssh', 'echo']
      .map(
        it =>
          `add element inet knockd ${it}_clients_ipv4 { ${ipv4} }\nadd element inet knockd ${it}_clients_ipv6 { ${ipv6} }`,
      )
      .join('\n'),
  );
  let busy = true;
  const tally = new Map<string, number>();
  const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  const visit = async (host: string) => {
    while (busy)
      for (const to of [world.server.ipv4, world.server.ipv6]) {
        // less than a SYN is sent again after; a lost datagram never is, a slow machine may take its time
        const [syn, datagram] = host === 'client' ? [900, 10_000] : [20, 20];
        count(`${host} tcp ${await world.host(host).connect(to, 22, { timeout: syn })}`);
        count(`${host} udp ${await world.host(host).udp(to, 7777, 'echo', { timeout: datagram })}`);
      }
  };
  const visits = ['client', 'client', 'knocker', 'knocker', 'knocker'].map(visit);
  const configs = [
    { services: { ssh, echo, other }, closed: 'reject' },
    { services: { ssh: { ...ssh, sequence: [10000, 2345, 3456, 1236] }, echo, admin } },
    { services: { ssh, echo, admin }, strict: false },
  ];
  for (let swap = 0; swap < 200; swap++) await load(world, configs[swap % configs.length] ?? {});
  busy = false;
  await Promise.all(visits);
  t.same(
    [...tally.keys()].filter(it => it.startsWith('client')).sort(),
    ['client tcp open', 'client udp echo'],
    'the client always came in',
  );
  t.notOk(tally.has('knocker tcp open') || tally.has('knocker udp echo'), 'the stranger never did');
  t.comment(JSON.stringify(Object.fromEntries(tally)));
});

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

for (const [what, commands] of byHand)
  t.test(`the next load puts right what somebody did to the table by hand: ${what}`, needs, async t => {
    const world = await createWorld(t);
    await world.host('server').listen(22);
    await load(world, base);
    await world.nft(`add element inet knockd admin_clients_ipv4 { 192.0.2.1 }`);
    await world.nft(commands);
    t.equal((await world.knockd(['diff'])).status, 1, 'diff sees it');
    t.match(JSON.parse((await world.knockd(['status', '--json'])).stdout || '{}'), {
      loaded: true,
      inSync: false,
    });
    t.match(await world.knockd(['load']), { status: 0, stderr: '' });
    t.equal((await world.knockd(['diff'])).status, 0, 'all is as it should be');
    t.equal((await elements(world, 'admin_clients_ipv4')).length, 1, 'who was in is in');
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
    await world.nft(commands);
    t.equal((await world.knockd(['unload'])).status, 0, 'it can be unloaded as well');
    t.equal(await world.list(), '');
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

t.test('two loaders at once both end well, and the table is one of the two', needs, async t => {
  const world = await createWorld(t);
  const configs = [base, { services: { ssh: { ...ssh, ports: [23] }, echo }, closed: 'reject' }];
  const files: string[] = [];
  const expected: string[] = [];
  for (const [index, config] of configs.entries()) {
    await load(world, config);
    expected.push(await program(world));
    files.push(await kept(world, config, index));
  }
  for (let round = 0; round < 20; round++) {
    if (round % 2) await world.nft('flush ruleset');
    const both = await Promise.all(files.map(config => world.knockd(['load'], { config })));
    t.same(
      both.map(({ status, stderr }) => `${status}${stderr}`),
      ['0', '0'],
      'both end with 0',
    );
    t.ok(expected.includes(await program(world)), 'one of the two');
  }
  for (let round = 0; round < 20; round++) {
    if (round % 2) await world.nft('flush ruleset');
    const both = await Promise.all([0, 1, 2].map(() => world.knockd(['load'], { config: files[0] ?? '' })));
    t.same(
      both.map(({ status }) => status),
      [0, 0, 0],
    );
    t.equal(await program(world), expected[0], 'the same file from three sides');
  }
});

t.test('a loader that is killed leaves the old ruleset or the new one', needs, async t => {
  const world = await createWorld(t);
  const many = (first: number) =>
    Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [
        `service${first + index}`,
        { ports: [2000 + first + index], sequence: [10000 + index, 20000 + index, 30000 + first + index] },
      ]),
    );
  const configs = [{ services: many(0) }, { services: many(100), closed: 'reject', policy: 'drop' }];
  const files: string[] = [];
  const expected: string[] = [];
  for (const [index, config] of configs.entries()) {
    await load(world, config);
    expected.push(await program(world, ['table', 'inet', 'knockd']));
    files.push(await kept(world, config, index));
  }
  let next = 0;
  const seen = { killed: 0, old: 0, new: 0 };
  // from no load at all to a whole one, however fast this machine is
  const begin = performance.now();
  await world.knockd(['load'], { config: files[0] ?? '' });
  const whole = performance.now() - begin;
  await world.knockd(['load'], { config: files[1] ?? '' });
  for (let round = 0; round < 60; round++) {
    const config = files[next] ?? '';
    const loader = world.start('server', process.execPath, [
      'dist/knockd-nft.cjs',
      '--config',
      config,
      'load',
    ]);
    await delay((whole * 1.2 * ((round * 37) % 60)) / 60);
    const { status } = await loader.stop('SIGKILL');
    if (status === 137) seen.killed++;
    const now = await program(world, ['table', 'inet', 'knockd']);
    t.ok(expected.includes(now), 'whole');
    if (now === expected[next]) {
      seen.new++;
      next = 1 - next;
    } else seen.old++;
  }
  t.comment(JSON.stringify(seen));
  t.ok(seen.killed > 0 && seen.old > 0, 'some were killed before they were done');
  t.equal((await world.knockd(['load'], { config: files[0] ?? '' })).status, 0, 'the next load is as ever');
  t.equal(await program(world, ['table', 'inet', 'knockd']), expected[0]);
});

t.test('another program that changes the ruleset all the time does not keep us from it', needs, async t => {
  const world = await createWorld(t);
  const services = Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [
      `service${index}`,
      { ports: [2000 + index], sequence: [10000 + index, 20000 + index, 30000 + index] },
    ]),
  );
  const configs = [{ services }, { services, closed: 'reject' }];
  await load(world, configs[1] ?? {});
  const writer = world.start('server', 'sh', [
    '-c',
    `while :; do nft 'add table ip foreign; add chain ip foreign c; add rule ip foreign c accept'; nft delete table ip foreign; echo round; done`,
  ]);
  await writer.line(/round/);
  for (let round = 0; round < 10; round++) {
    world.write(configs[round % 2] ?? {});
    const { status, stderr } = await world.knockd(['load']);
    t.equal(`${status}${stderr}`, '0', 'load');
    const told = await world.knockd(['status', '--json']);
    t.equal(`${told.status}${told.stderr}`, '0', 'status');
    t.match(JSON.parse(told.stdout || '{}'), { inSync: true });
    const diff = await world.knockd(['diff']);
    t.equal(`${diff.status}${diff.stderr}`, '0', 'diff');
  }
  await writer.stop('SIGKILL');
});
