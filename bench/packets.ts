/** What a packet costs: ours beside the article's ruleset and beside connection tracking alone. */
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

/** The service that is knocked on and visited: the middle one, where the article's rules are half gone through. */
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

const kinds: readonly {
  readonly name: string;
  readonly ports: (services: number) => readonly number[];
  readonly running?: true;
}[] = [
  { name: 'unrelated', ports: () => [9999] },
  { name: 'knock', ports: (services: number) => knocksOf(middle(services)) },
  { name: 'guarded', ports: (services: number) => [guardedPort(middle(services))] },
  { name: 'running', ports: (services: number) => [guardedPort(middle(services))], running: true },
];

async function nft(world: World, host: string, script: string): Promise<void> {
  const { status, stderr } = await world.run(host, 'nft', ['-f', '-'], { input: script, timeout: 120_000 });
  if (status !== 0) throw new Error(`nft on ${host}: ${stderr}`);
}

async function knockd(world: World, host: string, services: number): Promise<void> {
  world.write(configuration(services));
  const { status, stderr } = await world.knockd(['load'], { host });
  if (status !== 0) throw new Error(`load on ${host}: ${stderr}`);
}

/** Has a host track connections that were let in, and take every segment of them for theirs. */
async function track(world: World, host: string, port: number): Promise<void> {
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
  const streams = subjects.flatMap(({ host, services }) =>
    kinds.map(({ ports, running }) => ({
      to: world.addresses(host).ipv4,
      ports: ports(services),
      ...(running && { running }),
    })),
  );
  const plan: Plan = { streams, rounds: ROUNDS };
  const droppedBefore = dropped();
  const program = fileURLToPath(new URL('./sender.js', import.meta.url));
  const { status, stdout, stderr } = await world.run('sender', process.execPath, [program], {
    input: JSON.stringify(plan),
    timeout: 300_000,
  });
  if (status !== 0) throw new Error(`sender: ${stderr}`);
  print(JSON.parse(stdout) as Samples, dropped() - droppedBefore);
}

function print(samples: Samples, lost: number): void {
  const of = (subject: number, kind: number) => samples[subject * kinds.length + kind] ?? [];
  const cost = (subject: number, kind: number) => quantile(of(subject, kind), 0.1);
  const conntrack = subjects.findIndex(({ host }) => host === 'conntrack');
  const ours = subjects.findIndex(({ host }) => host === 'ours1');
  console.log(`Packets: ns for one SYN, from the sender's system call to the end of the receiver's input hook, the sender's
own work included; nothing is subtracted. Lower decile (median) of ${ROUNDS} interleaved rounds of 256; behind each table
stands the same chain that drops what gets there. "unrelated": a port that nobody names; "knock": whole sequences of
four from many sources; "guarded": a stranger's SYN to a guarded port; both of the middle service; "running": segments of ${RUNNING.count}
connections to it that were let in.`);
  for (const [kind, { name }] of kinds.entries()) {
    console.log('');
    printTable(
      [name, 'ns', '(median)', 'to conntrack only', 'to ours with 1'],
      subjects.map((subject, index) => [
        subject.name,
        cost(index, kind).toFixed(0),
        `(${quantile(of(index, kind), 0.5).toFixed(0)})`,
        ratio(cost(index, kind), cost(conntrack, kind)),
        ratio(cost(index, kind), cost(ours, kind)),
      ]),
    );
  }
  console.log(lost > 0 ? `\n${lost} packets were lost before the hook: the figures are too good\n` : '');
}
