/** Swapping under fire: at no instant is a stranger let in, or a client turned away. */
import t, { type Test } from 'tap';
import { load, ssh, sshKnocks } from './loaded.ts';
import { admin, built, counters, echo, elements, kept, needs, script } from './swapping.ts';
import { createWorld, type World } from './world.ts';

/** Loads the configurations in turn, `rounds` times each, as fast as it goes; in one process. */
const swapScript = `
  import { readConfig } from ${built('config/read.js')};
  import { compile } from ${built('ruleset/compile.js')};
  import { withKernel } from ${built('host/access.js')};
  import { load } from ${built('table/load.js')};
  import { Writer } from ${built('table/writer.js')};
  const [rounds, ...files] = process.argv.slice(1);
  const rulesets = files.map(file => compile(readConfig(file, {}).config, 'test'));
  await withKernel(async ({ connection, sessions }) => {
    for (let round = 0; round < Number(rounds); round++)
      for (const ruleset of rulesets) await load(new Writer(connection), ruleset, sessions);
  });`;

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

async function grantFlood(world: World): Promise<void> {
  const sources = Array.from({ length: 10 }, (_, index) => `198.19.0.${index}`).join(', ');
  await world.nft(
    ['ssh', 'admin', 'echo']
      .map(it => `add element inet knockd ${it}_clients_ipv4 { ${sources} }`)
      .join('\n'),
  );
}

/** Swaps between the configurations under fire; all of them guard ssh, admin and echo. */
async function swapUnderFire(
  t: Test,
  configs: readonly object[],
  rounds: number,
): Promise<Record<string, number>> {
  const world = await createWorld(t);
  for (const listening of [22, 8443]) await world.host('server').listen(listening);
  await load(world, configs.at(-1) ?? {});
  await watchGuards(world);
  await grantFlood(world);
  const files: string[] = [];
  for (const config of configs) files.push(await kept(world, config, files.length));
  await underFire(world, script(world, swapScript, [String(rounds), ...files]));
  return guardCounts(world);
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
  t.test(`200 swaps let no stranger in and turn no client away: ${name}`, needs, async t => {
    const counts = await swapUnderFire(t, configs, 200 / configs.length);
    const { strangers = 0, clients = 0 } = counts;
    t.comment(JSON.stringify(counts));
    t.equal(counts.strangers_in, 0, `of ${strangers} packets of strangers`);
    t.equal(counts.clients_in, clients, 'packets of clients');
    t.ok(strangers > 1000 && clients > 100, 'there was fire');
  });

t.test('100 swaps let no stranger in: a port goes from one service to another', needs, async t => {
  const renamed = { services: { ssh2: ssh, admin, echo } };
  const { strangers_in, strangers = 0 } = await swapUnderFire(t, [renamed, all], 50);
  t.equal(strangers_in, 0, `of ${strangers} packets of strangers`);
  t.ok(strangers > 1000, 'there was fire');
});

const knockedThrough: Readonly<Record<string, object>> = {
  'the name of the table': { table: 'door' },
  'the hook': { hook: 'prerouting' },
  'priority and policy': { priority: 5, policy: 'drop' },
  knockTimeout: { services: { ssh: { ...ssh, knockTimeout: '4m' } } },
};

for (const [name, change] of Object.entries(knockedThrough))
  t.test(`a client that knocks during a swap is let in: ${name}`, needs, async t => {
    const world = await createWorld(t);
    const one = { services: { ssh: { ...ssh, openFor: '1h' } } };
    await load(world, one);
    const files = [await kept(world, { ...one, ...change }, 0), await kept(world, one, 1)];
    const client = world.host('client');
    const many = 200;
    let busy = true;
    let knocked = 0;
    const fired = (async () => {
      for (let group = 0; busy && group < 200; group++) {
        const sources = { first: `198.18.${group}.0`, count: many };
        const flood = { to: world.server.ipv4, sources, rate: 10_000 };
        // each for himself, and all of them step by step
        if (group % 2) await client.flood({ ...flood, knocks: sshKnocks, count: many * sshKnocks.length });
        else for (const knock of sshKnocks) await client.flood({ ...flood, knocks: [knock], count: many });
        knocked += many;
      }
    })();
    try {
      await script(world, swapScript, ['10', ...files]);
    } finally {
      busy = false;
      await fired;
    }
    t.ok(knocked > many, `${knocked} knocked`);
    t.equal((await elements(world, 'ssh_clients_ipv4')).length, knocked);
  });

t.test(
  'real connections beside 300 swaps, and loads by the command itself, notice nothing',
  needs,
  async t => {
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
    const files: string[] = [];
    for (const config of configs) files.push(await kept(world, config, files.length));
    await script(world, swapScript, ['100', ...files]);
    for (const config of [...files, ...files, ...files, ...files])
      t.equal((await world.knockd(['load'], { config })).status, 0);
    busy = false;
    await Promise.all(visits);
    t.same(
      [...tally.keys()].filter(it => it.startsWith('client')).sort(),
      ['client tcp open', 'client udp echo'],
      'the client always came in',
    );
    t.notOk(tally.has('knocker tcp open') || tally.has('knocker udp echo'), 'the stranger never did');
    t.comment(JSON.stringify(Object.fromEntries(tally)));
  },
);
