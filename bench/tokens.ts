/** The cost of one-time tokens: races, floods, packets that may carry one, and 1,000 users. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../src/config/parse.ts';
import { feed, tokensWanted } from '../src/feeder/feed.ts';
import { Connection } from '../src/netlink/connection.ts';
import { NETLINK_NETFILTER, openSocket } from '../src/netlink/socket.ts';
import { Writer } from '../src/table/writer.ts';
import { tokenDatagram } from '../src/token/packet.ts';
import { raceTokens } from '../test/kernel/token-racing.ts';
import { tokenWorld } from '../test/kernel/token-world.ts';
import { environment, flags } from '../test/supervisor/unit.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { measure } from './measure.ts';
import { nft, sendStreams, track } from './packets.ts';
import type { Stream } from './sender.ts';
import { behind, program } from './subjects.ts';
import { memory } from './supervisor.ts';
import { work } from './work.ts';

const RACES = 100_000;
const ROUNDS = 400;
const USERS = 1000;
const LOADS = 7;
/** Windows that stand ready before the first top-up, and top-ups. */
const WINDOWS = 60;
const TOP_UPS = 40;
const IDLE_SECONDS = 130;
/** The ports where tokens count in the data, too. */
const PAYLOAD = 80;
const GUARDED = 22;

type Teardown = Parameters<typeof tokenWorld>[0];

export async function benchTokens(t: Teardown): Promise<void> {
  await benchRaces(t);
  await benchFlood(t);
  await benchUsers(t);
}

async function benchRaces(t: Teardown): Promise<void> {
  const { races, opened, used, repeated } = await raceTokens(t, RACES);
  console.log(`Tokens: ${races} races of two copies of a token, from two hosts on two processors, at the same instant:
${opened} opened, ${used} were used, ${repeated} came as repeated.\n`);
}

/** So many users, each with a secret. */
function users(count: number): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `user${index}`,
      createHash('sha256').update(String(index)).digest('hex'),
    ]),
  );
}

const ssh = { ports: [GUARDED], sequence: [10000, 2345, 3456, 1234] };
const withTokens = { services: { ssh: { ...ssh, tokens: users(80) } } };
const subjects = [
  { host: 'none', name: 'without tokens', config: { services: { ssh } } },
  { host: 'tokens', name: 'with tokens', config: withTokens },
  {
    host: 'payload',
    name: 'with payload 80/tcp',
    config: { ...withTokens, token: { payload: [`${PAYLOAD}/tcp`] } },
  },
] as const;

/** Packets to all of the subjects, side by side. */
async function benchFlood(t: Teardown): Promise<void> {
  const world = await tokenWorld(t, { clients: ['sender', ...subjects.map(({ host }) => host)] });
  for (const { host, config } of subjects) {
    await nft(world, host, behind);
    world.write(config);
    const { status, stderr } = await world.knockd(['load'], { host, env: world.env });
    if (status !== 0) throw new Error(`load on ${host}: ${stderr}`);
    for (const port of [GUARDED, PAYLOAD]) await track(world, host, port);
  }
  const payload = tokenDatagram(randomBytes(16).toString('hex'));
  const kinds: readonly (Omit<Stream, 'to'> & { readonly name: string })[] = [
    { name: 'a wrong token to 62201/udp', ports: [62201], udp: true, payload },
    { name: 'the same to 62200/udp', ports: [62200], udp: true, payload },
    { name: 'running, to 80/tcp, with data', ports: [PAYLOAD], running: true, payload },
    { name: 'running, to 80/tcp, without', ports: [PAYLOAD], running: true },
    { name: 'running, to 22/tcp, with data', ports: [GUARDED], running: true, payload },
    { name: 'running, to 22/tcp, without', ports: [GUARDED], running: true },
  ];
  const streams = kinds.flatMap(({ name: _, ...kind }) =>
    subjects.map(({ host }) => ({ ...kind, to: world.addresses(host).ipv4 })),
  );
  const samples = await sendStreams(world, { streams, rounds: ROUNDS });
  console.log(`A packet: ns, as for "packets"; lower decile of ${ROUNDS} interleaved rounds of 256. 80 users have 115,600 tokens ready.
"Data" is a wrong token.\n`);
  const cost = (kind: number, subject: number) =>
    quantile(samples[kind * subjects.length + subject] ?? [], 0.1);
  printTable(
    ['', ...subjects.flatMap(({ name }, index) => (index === 0 ? [name] : [name, '']))],
    kinds.map(({ name }, kind) => [
      name,
      ...subjects.flatMap((_, subject) => [
        cost(kind, subject).toFixed(0),
        ...(subject === 0 ? [] : [ratio(cost(kind, subject), cost(kind, 0))]),
      ]),
    ]),
  );
  console.log('');
}

async function benchUsers(t: Teardown): Promise<void> {
  const world = await tokenWorld(t);
  const file = world.write({ services: { ssh: { ports: [GUARDED], tokens: users(USERS) } } });
  const ours = (word: string) => [
    'env',
    ...Object.entries(world.env).map(([name, value]) => `${name}=${value}`),
    process.execPath,
    program,
    '--config',
    file,
    word,
  ];
  const [loads] = await measure(world, 'server', {
    commands: [{ command: ours('load'), cleanup: ours('unload') }],
    rounds: LOADS,
  });
  const times = loads?.times ?? [];

  const supervisor = world.start('server', process.execPath, [...flags, program, '--config', file, 'run'], {
    ...environment,
    ...world.env,
  });
  const started = performance.now();
  await supervisor.line(/"event":"(loaded|unchanged|swapped)"/, 120_000);
  const loaded = performance.now() - started;
  const most = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${supervisor.pid}/status`, 'utf8'))?.[1]);
  await delay(5000);
  const [resident, own] = memory(supervisor.pid);
  const { seconds } = work(supervisor.pid);
  await delay(IDLE_SECONDS * 1000);
  const spent = work(supervisor.pid).seconds - seconds;
  const [later] = memory(supervisor.pid);
  await supervisor.stop();
  await world.nft('flush map inet knockd tokens'); // they are fed anew, a few at first

  const { status, stdout, stderr } = await world.run(
    'server',
    process.execPath,
    [...flags, fileURLToPath(import.meta.url), file],
    { env: { ...environment, ...world.env }, timeout: 300_000 },
  );
  if (status !== 0) throw new Error(`top-up: ${stderr}`);
  const topUps = JSON.parse(stdout) as number[];

  const figure = (list: readonly number[]) =>
    `${Math.min(...list).toFixed(0)} ms (${quantile(list, 0.5).toFixed(0)})`;
  console.log(`${USERS} users, with as many tokens as the kernel's map has room for. Least (median).

  load, from the start of the process to its end      ${figure(times)}, of ${LOADS}; ${((loads?.resident ?? Number.NaN) / 1024).toFixed(0)} MiB at most
  a top-up of ${USERS} tokens, as the supervisor does it    ${figure(topUps)}, of ${topUps.length}
  supervisor (node ${flags.join(' ')}):
    from its start until all is loaded                ${loaded.toFixed(0)} ms
    memory while it loads, at most                    ${(most / 1024).toFixed(0)} MiB resident
    memory 5 s later                                  ${resident.toFixed(0)} MiB resident, ${own.toFixed(0)} MiB private
    memory after ${IDLE_SECONDS} s with two top-ups               ${later.toFixed(0)} MiB resident
    these ${IDLE_SECONDS} s                                       ${((spent / IDLE_SECONDS) * 100).toFixed(2)} % of a core\n`);
}

/** On the server: feeds the first windows, then one window more each time. Prints the milliseconds of each. */
async function topUp(path: string): Promise<void> {
  const { env } = process;
  const wanted = tokensWanted(parseConfig(readFileSync(path, 'utf8'), path, env).config);
  if (!wanted) throw new Error(`${path} has no tokens`);
  const connection = new Connection(openSocket(NETLINK_NETFILTER));
  const times: number[] = [];
  let until = 0;
  for (let windows = WINDOWS; windows <= WINDOWS + TOP_UPS; windows++) {
    const hours = windows / 60;
    if (hours * 60 !== windows) continue; // not exact
    const start = performance.now();
    const fed = await feed(new Writer(connection), { ...wanted, hours }, { env, watched: true });
    times.push(performance.now() - start);
    if (fed.is !== 'fed' || fed.until <= until) throw new Error(`not fed: ${fed.is}`);
    until = fed.until;
  }
  connection.close();
  process.stdout.write(JSON.stringify(times.slice(1)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await topUp(process.argv[2] ?? '');
