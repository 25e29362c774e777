/**
 * Swaps between any two configurations, drawn at random: while a stranger floods the ports that both keep closed to
 * him, and a client uses those that both let him into, the stranger gets no answer, and the client always comes in.
 *
 * KNOCKD_NFT_PAIRS says how many pairs are drawn, KNOCKD_NFT_SEED which.
 */
import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import {
  configOf,
  drawPairs,
  type Pair,
  PUBLISHED,
  pairOf,
  portsThatStay,
  SOURCES,
  surroundings,
  TARGETS,
  type Who,
} from './pairs.ts';
import type { Running } from './process.ts';
import { built, counters } from './swapping.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };

const PAIRS = Number(process.env.KNOCKD_NFT_PAIRS || 40);
const SEED = Number(process.env.KNOCKD_NFT_SEED || Math.floor(Math.random() * 0x7fffffff));
/** How long one pair is swapped to and fro, in milliseconds; at least once. */
const LONG = 2000;
const SHORT = 500;

const FLOODS: Readonly<
  Record<Who, { readonly ipv4: string; readonly ipv6: string; readonly count: number }>
> = {
  stranger: { ipv4: '198.18.0.1', ipv6: '2001:db8:18::1', count: 50 },
  client: { ipv4: '198.19.0.1', ipv6: '2001:db8:19::1', count: 10 },
};

/** For each pair, at each signal in turn: loads its first, and its surroundings; swaps to and fro. */
const swapperScript = `
  import { spawnSync } from 'node:child_process';
  import { readFileSync } from 'node:fs';
  import { parseConfig } from ${built('config/parse.js')};
  import { compile } from ${built('ruleset/compile.js')};
  import { withKernel } from ${built('host/access.js')};
  import { load, unload } from ${built('table/load.js')};
  import { Writer } from ${built('table/writer.js')};
  const [file, milliseconds] = process.argv.slice(1);
  const steady = setInterval(() => {}, 1000);
  let go = () => {};
  let signals = 0;
  process.on('SIGUSR2', () => { signals++; go(); });
  const signal = async () => {
    while (signals === 0) await new Promise(resolve => { go = resolve; });
    signals--;
  };
  console.log('started');
  await withKernel(async ({ connection, sessions }) => {
    for (const { configs, nft } of JSON.parse(readFileSync(file))) {
      const [one, other] = configs.map(it => compile(parseConfig(JSON.stringify(it), 'drawn', {}).config, 'test'));
      await signal();
      await unload(new Writer(connection));
      await load(new Writer(connection), one, sessions);
      const { status, stderr } = spawnSync('nft', ['-f', '-'], { input: nft });
      if (status !== 0) throw new Error(String(stderr));
      console.log('ready');
      await signal();
      const start = performance.now();
      let transactions = 0;
      let swaps = 0;
      for (; swaps === 0 || performance.now() - start < Number(milliseconds); swaps += 2)
        for (const ruleset of [other, one])
          await load(new Writer(connection, { mayCommit: () => { transactions++; } }), ruleset, sessions);
      console.log('done ' + JSON.stringify({ swaps, transactions }));
    }
  });
  clearInterval(steady);`;

/** Packets from clients, before any of our chains and after; and those back to the stranger. */
async function watch(world: World): Promise<void> {
  const opens = 'tcp flags & (fin | syn | rst | ack) == syn';
  const from = ['ip saddr 198.19.0.0/16', 'ip6 saddr 2001:db8:19::/48'];
  const count = (name: string) =>
    from
      .flatMap(it => [`${it} ${opens} counter name ${name}`, `${it} meta l4proto udp counter name ${name}`])
      .join('\n    ');
  await world.nft(`table inet witness {
  counter clients { }
  counter clients_in { }
  chain before {
    type filter hook prerouting priority -400
    iifname "eth0" jump count_before
  }
  chain count_before {
    ${count('clients')}
  }
  chain after {
    type filter hook input priority 400
    iifname "eth0" jump count_after
  }
  chain forwarded {
    type filter hook forward priority 400
    iifname "eth0" jump count_after
  }
  chain count_after {
    ${count('clients_in')}
  }
}`);
  const answered = `table inet witness {
  counter answers { }
  chain before {
    type filter hook prerouting priority -400
    tcp flags & (syn | ack) == syn | ack counter name answers
    meta l4proto udp counter name answers
  }
}`;
  // each of the stranger's addresses is his own: he resets what he is let into, and no answer comes twice
  const addresses = Object.values(SOURCES.stranger).map(network => `ip route add local ${network} dev lo`);
  const { status, stderr } = await world.run('stranger', 'sh', ['-ec', `nft -f -\n${addresses.join('\n')}`], {
    input: answered,
  });
  if (status !== 0) throw new Error(stderr);
}

async function answersToStranger(world: World): Promise<number> {
  const { stdout } = await world.run('stranger', 'nft', ['--json', 'list', 'counters']);
  const { nftables } = JSON.parse(stdout) as { nftables: readonly { counter?: { packets: number } }[] };
  return nftables.reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0);
}

/** Flows are forgotten soon: a flood makes many. */
async function prepare(t: Test): Promise<World> {
  const world = await createWorld(t, { clients: ['stranger', 'client'], container: true });
  await world.run('server', 'sh', [
    '-c',
    `for limit in tcp_timeout_syn_recv tcp_timeout_syn_sent tcp_timeout_close tcp_timeout_time_wait udp_timeout udp_timeout_stream
     do echo 1 >/proc/sys/net/netfilter/nf_conntrack_$limit; done
     ip route add 198.19.0.0/16 via ${world.addresses('client').ipv4}
     ip route add 2001:db8:19::/48 via ${world.addresses('client').ipv6}`,
  ]);
  for (const target of TARGETS) {
    const port = Number.parseInt(target, 10);
    if (target === PUBLISHED) await world.host('container').listen(80);
    else await world.host('server').listen(port, { protocol: target.endsWith('udp') ? 'udp' : 'tcp' });
  }
  await world.publish(Number.parseInt(PUBLISHED, 10), 80);
  await watch(world);
  return world;
}

/** Floods in both families until told to stop. */
function flood(world: World, who: Who, knocks: readonly string[]): () => Promise<number> {
  if (knocks.length === 0) return async () => 0;
  const { count, ...first } = FLOODS[who];
  let busy = true;
  let packets = 0;
  const fired = (async () => {
    while (busy)
      for (const family of ['ipv4', 'ipv6'] as const) {
        const sources = { first: first[family], count };
        const to = world.server[family];
        packets += (await world.host(who).flood({ to, knocks, sources, count: 2000 })).packets;
      }
  })();
  return async () => {
    busy = false;
    await fired;
    return packets;
  };
}

/** The client's real connections, which get their answer or not, until told to stop: how many were not open. */
function visit(world: World, ports: readonly string[]): () => Promise<Record<string, number>> {
  const tcp = ports.filter(port => port.endsWith('tcp')).map(port => Number.parseInt(port, 10));
  const tally: Record<string, number> = {};
  let busy = tcp.length > 0;
  const visited = (async () => {
    while (busy)
      for (const port of tcp)
        for (const to of [world.server.ipv4, world.server.ipv6]) {
          const from = FLOODS.client[to === world.server.ipv4 ? 'ipv4' : 'ipv6'];
          const reach = await world.host('client').connect(to, port, { timeout: 900, from });
          tally[reach] = (tally[reach] ?? 0) + 1;
        }
  })();
  return async () => {
    busy = false;
    await visited;
    return tally;
  };
}

interface Task {
  readonly name: string;
  readonly pair: Pair;
  /** The clients that come meanwhile. */
  readonly fire: readonly Who[];
}

interface Swapped {
  readonly strangers: number;
  readonly answers: number;
  readonly clients: number;
  readonly refused: number;
  readonly visits: Record<string, number>;
  readonly swaps: number;
  readonly transactions: number;
}

async function swap(world: World, swapper: Running, { pair, fire }: Task): Promise<Swapped> {
  swapper.signal('SIGUSR2');
  await swapper.line(/^ready$/);
  const before = await counters(world);
  const answersBefore = await answersToStranger(world);
  const closed = fire.includes('stranger') ? portsThatStay(pair, 'stranger', 'closed') : [];
  const open = fire.includes('client') ? portsThatStay(pair, 'client', 'open') : [];
  const stops = {
    strangers: flood(world, 'stranger', closed),
    clients: flood(world, 'client', open),
    visits: visit(world, open),
  };
  swapper.signal('SIGUSR2');
  const done = await swapper.line(/^done /);
  const [strangers, , visits] = await Promise.all([stops.strangers(), stops.clients(), stops.visits()]);
  const after = await counters(world);
  const clients = (after.clients ?? 0) - (before.clients ?? 0);
  return {
    strangers,
    answers: (await answersToStranger(world)) - answersBefore,
    clients,
    refused: clients - ((after.clients_in ?? 0) - (before.clients_in ?? 0)),
    visits,
    ...JSON.parse(done.slice('done '.length)),
  };
}

function clientAddresses(): string[] {
  const { count } = FLOODS.client;
  const one = Array.from({ length: count }, (_, index) => [
    `198.19.0.${index + 1}`,
    `2001:db8:19::${(index + 1).toString(16)}`,
  ]);
  return [...one.flat(), '198.19.0.0', '2001:db8:19::'];
}

/** Swaps each pair under fire; says of each what went wrong. */
async function swapAll(t: Test, tasks: readonly Task[], milliseconds: number): Promise<void> {
  const world = await prepare(t);
  for (const address of clientAddresses().filter(it => !it.endsWith('.0') && !it.endsWith('::')))
    await world.addAddress('client', `${address}/${address.includes(':') ? 128 : 32}`);
  const work = tasks.map(({ pair }) => ({
    configs: [configOf(pair.one), configOf(pair.other)],
    nft: surroundings(pair, clientAddresses()),
  }));
  const file = `${world.configFile}.pairs`;
  writeFileSync(file, JSON.stringify(work));
  // somebody who follows all changes makes the kernel slower in making them
  const monitor = world.start('server', 'sh', ['-c', 'echo monitor; exec nft monitor >/dev/null 2>&1']);
  await monitor.line(/monitor/);
  const swapper = world.start('server', process.execPath, [
    '--input-type=module',
    '-e',
    swapperScript,
    file,
    String(milliseconds),
  ]);
  await swapper.line(/^started$/);
  const sum = { strangers: 0, clients: 0, visits: 0, swaps: 0, transactions: 0 };
  for (const [index, task] of tasks.entries()) {
    const { name, pair } = task;
    const swapped = await swap(world, swapper, task);
    const { open: visits = 0, ...turnedAway } = swapped.visits;
    sum.strangers += swapped.strangers;
    sum.clients += swapped.clients;
    sum.visits += visits;
    sum.swaps += swapped.swaps;
    sum.transactions += swapped.transactions;
    const good = swapped.answers === 0 && swapped.refused === 0 && Object.keys(turnedAway).length === 0;
    if (!good)
      t.comment(
        `${name}: closed to the stranger ${portsThatStay(pair, 'stranger', 'closed')}, open to the client ${portsThatStay(pair, 'client', 'open')}\n${JSON.stringify(pair)}\n${JSON.stringify(work[index], null, 1)}`,
      );
    t.match(
      { answers: swapped.answers, refused: swapped.refused, turnedAway },
      { answers: 0, refused: 0, turnedAway: {} },
      `${name}: ${JSON.stringify(swapped)}`,
    );
  }
  t.comment(JSON.stringify(sum));
  t.ok(sum.strangers > 1000 && sum.clients > 1000 && sum.visits > 10, 'there was fire');
  await swapper.ended;
}

const early = { hook: 'prerouting', policy: 'drop', '80/tcp': 'nobody', more: 0 } as const;

/** Each of them had an instant, and shows it soon where it has one. */
const known: Readonly<Record<string, Pair>> = {
  'a guarded port is not named any more where all others are dropped': pairOf(
    {},
    { policy: 'drop', '22/tcp': 'nobody', '80/tcp': 'nobody', '7777/udp': 'nobody' },
  ),
  'only the policy': pairOf({ '8000/tcp': 'public' }, { policy: 'drop' }),
  'the priority, where all others are dropped': pairOf({ policy: 'drop' }, { priority: -20 }),
  'the priority, of a guard': pairOf({}, { priority: 10 }, 2),
  'the hook': pairOf({}, { hook: 'prerouting' }, 2),
  'the hook, and a single use': pairOf({ singleUse: 'first' }, { hook: 'prerouting' }, 2),
  'the hook and the priority': pairOf({ policy: 'drop' }, { hook: 'prerouting', priority: 0 }, 2),
  'a port that was dropped is guarded before DNAT': pairOf(early, { '80/tcp': 'second' }, 2),
  'such a port, and the policy': pairOf(early, { '80/tcp': 'second', policy: 'accept' }, 2),
  'the name of the table': pairOf({}, { table: 'door' }, 2),
  'the name of the table, where all others are dropped': pairOf({ policy: 'drop' }, { table: 'door' }),
  'the name of a service': pairOf({}, { first: 'shell' }),
  'the name of a service, where all others are dropped': pairOf(
    { policy: 'drop', allow: 'client' },
    { first: 'shell' },
  ),
};

t.test('no port is open or shut for an instant, in changes that are prone to it', needs, async t => {
  // one after the other: each has all of a small machine
  const tasks = Object.entries(known).flatMap(([name, pair]) =>
    (['stranger', 'client'] as const).map(who => ({ name: `${name}, ${who}`, pair, fire: [who] })),
  );
  await swapAll(t, tasks, LONG);
});

t.test(`no instant of being open or shut between ${PAIRS} pairs of configurations`, needs, async t => {
  const tasks = drawPairs(SEED, PAIRS).map((pair, index) => ({
    name: `KNOCKD_NFT_SEED=${SEED}, pair ${index}`,
    pair,
    fire: ['stranger', 'client'] as const,
  }));
  await swapAll(t, tasks, SHORT);
});
