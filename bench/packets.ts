/** The cost of a packet: ours beside the article's ruleset and beside connection tracking alone. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { World } from '../test/kernel/world.ts';
import { createWorld } from '../test/kernel/world.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { type Plan, RUNNING, type Samples } from './sender.ts';
import {
  article,
  behind,
  configuration,
  conntrackOnly,
  guardedPort,
  knocksOf,
  tracking,
} from './subjects.ts';

const COUNTS = [1, 10, 100, 1000] as const;
const ROUNDS = 400;

/** The service that gets the knocks and visits: the middle one, so a packet passes half of the article's rules. */
const middle = (services: number) => services >> 1;

interface Subject {
  readonly host: string;
  readonly name: string;
  readonly services: number;
  readonly load: (world: World, host: string) => Promise<void>;
}

const subjects: readonly Subject[] = [
  { host: 'none', name: 'no table', services: 1, load: async () => {} },
  {
    host: 'tracking',
    name: 'connection tracking, no rule',
    services: 1,
    load: (world, host) => nft(world, host, tracking),
  },
  {
    host: 'conntrack',
    name: 'connection tracking only',
    services: 1,
    load: (world, host) => nft(world, host, conntrackOnly),
  },
  ...COUNTS.map(services => ({
    host: `ours${services}`,
    name: `knockd-nft, ${services}`,
    services,
    load: (world: World, host: string) => knockd(world, host, services),
  })),
  ...COUNTS.map(services => ({
    host: `article${services}`,
    name: `article, ${services}`,
    services,
    load: (world: World, host: string) => nft(world, host, article(services)),
  })),
];

/** Each by itself, and knocks last: a crowd that knocks fills maps, and so the processor's caches. */
const kinds: readonly {
  readonly name: string;
  readonly ports: (services: number) => readonly number[];
  readonly running?: true;
}[] = [
  { name: 'unrelated', ports: () => [9999] },
  { name: 'guarded', ports: services => [guardedPort(middle(services))] },
  { name: 'running', ports: services => [guardedPort(middle(services))], running: true },
  { name: 'knock', ports: services => knocksOf(middle(services)) },
];

export async function nft(world: World, host: string, script: string): Promise<void> {
  const { status, stderr } = await world.run(host, 'nft', ['-f', '-'], { input: script, timeout: 120_000 });
  if (status !== 0) throw new Error(`nft on ${host}: ${stderr}`);
}

async function knockd(world: World, host: string, services: number): Promise<void> {
  world.write(configuration(services));
  const { status, stderr } = await world.knockd(['load'], { host });
  if (status !== 0) throw new Error(`load on ${host}: ${stderr}`);
}

/** Has a host track connections that were let in, and take every segment of them for theirs. */
export async function track(world: World, host: string, port: number): Promise<void> {
  const script = `echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
for sport in $(seq ${RUNNING.firstPort} ${RUNNING.firstPort + RUNNING.count - 1}); do
  conntrack -I -p tcp -s ${RUNNING.from} -d ${world.addresses(host).ipv4} --sport $sport --dport ${port} \
    --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 86400 2>&1 || exit 1
done`;
  const { status, stdout } = await world.run(host, 'sh', ['-c', script]);
  if (status !== 0) throw new Error(`conntrack on ${host}: ${stdout}`);
}

/** Packets that this machine dropped before they were worked on: then the figures would be too good. */
function dropped(): number {
  return readFileSync('/proc/net/softnet_stat', 'utf8')
    .trim()
    .split('\n')
    .reduce((sum, line) => sum + Number.parseInt(line.split(' ')[1] ?? '', 16), 0);
}

/** Measures and prints. `teardown` takes what ends the hosts. */
export async function benchPackets(t: Parameters<typeof createWorld>[0]): Promise<void> {
  const world = await createWorld(t, { clients: ['sender', ...subjects.map(({ host }) => host)] });
  for (const { host, services, load } of subjects) {
    await nft(world, host, behind);
    await load(world, host);
    if (host !== 'none') await track(world, host, guardedPort(middle(services)));
  }
  const droppedBefore = dropped();
  console.log(`Packets: ns for one packet, from the sender's system call to the end of the receiver's input hook, the sender's
own work included; nothing is subtracted. Lower decile (median) of ${ROUNDS} interleaved rounds of 256; behind each table
stands the same chain that drops what gets there. "unrelated": a SYN to a port that nobody names; "guarded": a stranger's to a
guarded port; "running": segments of ${RUNNING.count} connections to it that were let in; "knock": whole sequences of four from many
sources. All three of the middle service.`);
  for (const kind of kinds) print(kind.name, await sendAll(world, kind));
  const lost = dropped() - droppedBefore;
  console.log(lost > 0 ? `\n${lost} packets were lost before the hook: the figures are too good\n` : '');
}

/** Packets of a kind to each subject. */
async function sendAll(world: World, { ports, running }: (typeof kinds)[number]): Promise<Samples> {
  const streams = subjects.map(({ host, services }) => ({
    to: world.addresses(host).ipv4,
    ports: ports(services),
    ...(running && { running }),
  }));
  return sendStreams(world, { streams, rounds: ROUNDS });
}

/** Has the world's sender carry out a plan. */
export async function sendStreams(world: World, plan: Plan): Promise<Samples> {
  const program = fileURLToPath(new URL('./sender.js', import.meta.url));
  const { status, stdout, stderr } = await world.run('sender', process.execPath, [program], {
    input: JSON.stringify(plan),
    timeout: 300_000,
  });
  if (status !== 0) throw new Error(`sender: ${stderr}`);
  return JSON.parse(stdout) as Samples;
}

function print(name: string, samples: Samples): void {
  const cost = (subject: number) => quantile(samples[subject] ?? [], 0.1);
  const conntrack = subjects.findIndex(({ host }) => host === 'conntrack');
  const ours = subjects.findIndex(({ host }) => host === 'ours1');
  console.log('');
  printTable(
    [name, 'ns', '(median)', 'to conntrack only', 'to ours with 1'],
    subjects.map((subject, index) => [
      subject.name,
      cost(index).toFixed(0),
      `(${quantile(samples[index] ?? [], 0.5).toFixed(0)})`,
      ratio(cost(index), cost(conntrack)),
      ratio(cost(index), cost(ours)),
    ]),
  );
}
