/** Measures of one service: delay, packets at a rate, floods, and which tricks open it. */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { World } from '../../test/kernel/world.ts';
import { quantile } from '../figures.ts';
import { track } from '../packets.ts';
import { guardedPort } from '../subjects.ts';
import { work } from '../work.ts';
import { pss } from './memory.ts';
import { BUSY_PORT, type Pumped, type PumpPlan } from './pump.ts';
import type { Delay, Flood, Rate, Report, Spread, Trick } from './report.ts';
import type { Knock, Rival, Standing } from './rival.ts';
import type { Visit, Visited } from './visitor.ts';

/** The client is the world's server. All other hosts send packets without a route to it, so it may have any number of addresses. */
export const CLIENT = 'server';

/** A rival that stands on its host, guarding one service. */
export interface Contender {
  readonly rival: Rival;
  readonly standing: Standing;
}

const ROUNDS = 40;
const CONNECTS = 7;
const RATES = [100_000, 300_000, 500_000] as const;
const FLOODS = [1_000, 50_000] as const;
const FLOOD_CLIENTS = 10;

export function spread(values: readonly number[]): Spread {
  return {
    median: quantile(values, 0.5),
    quartiles: [quantile(values, 0.25), quantile(values, 0.75)],
    n: values.length,
  };
}

let lastSource = 0;
/** An address that has not knocked yet. */
function newSource(): string {
  lastSource++;
  return `198.19.${lastSource >> 8}.${lastSource & 255}`;
}

/** Gives the client those addresses. */
export async function prepareClient(world: World): Promise<void> {
  const { status, stderr } = await world.run(CLIENT, 'ip', 'route add local 198.19.0.0/16 dev lo'.split(' '));
  if (status !== 0) throw new Error(`ip route: ${stderr}`);
}

async function program<Result>(world: World, name: string, input: unknown): Promise<Result> {
  const path = fileURLToPath(new URL(name, import.meta.url));
  const { status, stdout, stderr } = await world.run(CLIENT, process.execPath, [path], {
    input: JSON.stringify(input),
    timeout: 600_000,
  });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return JSON.parse(stdout) as Result;
}

const shuffled = <T>(list: readonly T[]): readonly T[] =>
  list
    .map(item => [Math.random(), item] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, item]) => item);

/** Visits of `count` new clients. */
function visitsOf(
  world: World,
  { host, knocks }: Rival,
  count: number,
  how: Pick<Visit, 'gap' | 'every' | 'patience'>,
) {
  const sources = Array.from({ length: count }, newSource);
  const packets = knocks(world, host, sources);
  return sources.map(
    (source, index): Visit => ({
      to: world.addresses(host).ipv4,
      port: guardedPort(0),
      source,
      knocks: packets[index] ?? [],
      ...how,
    }),
  );
}

export async function measureDelay(world: World, contenders: readonly Contender[]): Promise<Report['delay']> {
  const doors = contenders.filter(({ rival }) => rival.kind !== 'nothing');
  const rounds = async (count: number, how: Pick<Visit, 'gap' | 'every' | 'patience'>) => {
    const visits = doors.map(({ rival }) => visitsOf(world, rival, count, how));
    const order = Array.from({ length: count }, (_, round) =>
      shuffled(doors.map((_, door) => ({ door, round }))),
    ).flat();
    const visited = await program<readonly Visited[]>(
      world,
      './visitor.js',
      order.flatMap(({ door, round }) => visits[door]?.[round] ?? []),
    );
    return doors.map((_, door) => visited.filter((_, index) => order[index]?.door === door));
  };
  const often = await rounds(ROUNDS, { gap: 5, every: 2, patience: 2000 });
  const once = await rounds(CONNECTS, { gap: 5, every: 0, patience: 5000 });
  const times = (visited: readonly Visited[] = []) =>
    visited.flatMap(({ opened }) => (opened === null ? [] : [opened]));
  return Object.fromEntries(
    doors.map(({ rival }, door): [string, Delay] => {
      const visited = often[door] ?? [];
      const opened = times(visited);
      return [
        rival.host,
        {
          opened: spread(opened),
          p95: quantile(opened, 0.95),
          failedFirst: visited.filter(({ failed }) => failed > 0).length,
          failed: quantile(
            visited.map(({ failed }) => failed),
            0.5,
          ),
          never: visited.length - opened.length,
          connect: spread(times(once[door])),
        },
      ];
    }),
  );
}

export async function measureRates(world: World, contenders: readonly Contender[]): Promise<Report['rates']> {
  for (const { rival } of contenders) if (rival.host !== 'none') await track(world, rival.host, BUSY_PORT);
  const plan: PumpPlan = {
    lanes: contenders.map(({ rival, standing: { pids } }) => ({
      to: world.addresses(rival.host).ipv4,
      pids,
    })),
    rates: RATES,
    rounds: 5,
    seconds: 0.6,
  };
  const pumped = await program<readonly Pumped[]>(world, './pump.js', plan);
  return Object.fromEntries(
    contenders.map(({ rival, standing }, lane) => [
      rival.host,
      RATES.map((wanted): Rate => {
        const mine = pumped.filter(it => it.lane === lane && it.rate === wanted);
        return {
          wanted,
          reached: spread(mine.map(({ reached }) => reached)),
          nanoseconds: spread(mine.map(({ nanoseconds }) => nanoseconds)),
          ...(standing.pids.length > 0 && { daemon: spread(mine.map(({ daemon }) => daemon * 100)) }),
        };
      }),
    ]),
  );
}

/** Packets that look like a first knock come from many forged addresses, while true clients come one after the other. */
async function flood(world: World, { rival, standing }: Contender, wanted: number): Promise<Flood> {
  const { flood: packet } = rival;
  const to = world.addresses(rival.host).ipv4;
  const visits = visitsOf(world, rival, FLOOD_CLIENTS, { gap: 50, every: 20, patience: 1000 });
  const spent = () => standing.pids.reduce((sum, pid) => sum + work(pid).seconds, 0);
  const before = { spent: spent(), memory: pss(standing.pids) };
  const sent = { packets: 0, seconds: 0 };
  let visiting = true;
  const start = performance.now();
  /** Until the last client has come, each second from other addresses. After two seconds these are more than any set holds. */
  const flooding = (async () => {
    for (let second = 0; visiting; second++) {
      const slice = await world.host(CLIENT).flood({
        to,
        knocks: [packet.payload === undefined ? `${packet.port}/tcp` : `${packet.port}/udp`],
        ...(packet.payload !== undefined && { payloads: [packet.payload] }),
        sources: { first: `100.${64 + (second % 64)}.0.1`, count: wanted },
        count: wanted,
        rate: wanted,
      });
      sent.packets += slice.packets;
      sent.seconds += slice.seconds;
    }
  })();
  await delay(2000);
  const visited = await program<readonly Visited[]>(world, './visitor.js', visits).finally(() => {
    visiting = false;
  });
  await flooding;
  const took = (performance.now() - start) / 1000;
  const opened = visited.flatMap(({ opened }) => (opened === null ? [] : [opened]));
  return {
    wanted,
    reached: sent.packets / sent.seconds,
    in: opened.length,
    of: visited.length,
    opened: quantile(opened, 0.5),
    ...(standing.pids.length > 0 && {
      daemon: {
        share: ((spent() - before.spent) / took) * 100,
        before: before.memory,
        after: pss(standing.pids),
      },
    }),
  };
}

/** This comes last, since some rivals do not recover. */
export async function measureFloods(
  world: World,
  contenders: readonly Contender[],
): Promise<Report['flood']> {
  const floods: Record<string, Flood[]> = {};
  for (const wanted of FLOODS)
    for (const contender of contenders) {
      const { host, kind } = contender.rival;
      if (kind === 'nothing') continue;
      floods[host] = [...(floods[host] ?? []), await flood(world, contender, wanted)];
      await delay(500);
    }
  return floods;
}

export async function measureOpens(world: World, contenders: readonly Contender[]): Promise<Report['opens']> {
  const doors = contenders.filter(({ rival }) => rival.kind !== 'nothing');
  const client = world.host(CLIENT);
  const opens: Record<string, Partial<Record<Trick, boolean>>> = {};
  const recorded = new Map<string, { readonly source: string; readonly knocks: readonly Knock[] }>();
  const send = async (to: string, from: string, knocks: readonly Knock[]) => {
    for (const { port, payload } of knocks) {
      const protocol = payload === undefined ? 'tcp' : 'udp';
      await client.send([{ protocol, to, from, port, ...(payload !== undefined && { payload }) }]);
      await delay(20);
    }
  };
  for (const { rival } of doors) {
    const to = world.addresses(rival.host).ipv4;
    const results: Partial<Record<Trick, boolean>> = {};
    const isOpen = async (from: string) => {
      await delay(400); // a daemon may need that to see the packets
      return (await client.connect(to, guardedPort(0), { from })) === 'open';
    };
    const fresh = () => {
      const source = newSource();
      return { source, knocks: rival.knocks(world, rival.host, [source])[0] ?? [] };
    };
    const trick = async (name: Trick, change: (knocks: readonly Knock[]) => readonly Knock[]) => {
      const { source, knocks } = fresh();
      await send(to, source, change(knocks));
      results[name] = await isOpen(source);
    };
    const sweep = async (name: Trick, order: 'rising' | 'shuffled', rounds: number) => {
      const from = newSource();
      const protocol = rival.kind === 'sequence' ? 'tcp' : 'udp';
      await client.sweep({ address: to, from, order, protocol, rounds });
      results[name] = await isOpen(from);
    };
    const first = fresh();
    await send(to, first.source, first.knocks);
    results.own = await isOpen(first.source);
    recorded.set(rival.host, first);
    const elsewhere = newSource();
    await send(to, elsewhere, first.knocks);
    results.replay = await isOpen(elsewhere);
    await trick('twice', knocks => knocks.flatMap(it => [it, it]));
    if (rival.kind === 'sequence') {
      await trick('swapped', ([one, two, three, four]) =>
        [one, three, two, four].flatMap(it => (it ? [it] : [])),
      );
      await trick('between', ([one, two, ...rest]) =>
        [one, two, { port: 9998 }, ...rest].flatMap(it => (it ? [it] : [])),
      );
    }
    await sweep('rising', 'rising', 1);
    await sweep('three', 'rising', 3);
    await sweep('shuffled', 'shuffled', 10);
    opens[rival.host] = results;
  }
  await delay(15_000); // all ports that were open for ten seconds are shut again
  for (const { rival } of doors) {
    const to = world.addresses(rival.host).ipv4;
    const { source, knocks } = recorded.get(rival.host) ?? { source: '', knocks: [] };
    const before = await client.connect(to, guardedPort(0), { from: source });
    if (before === 'open') throw new Error(`${rival.name} did not shut again`);
    await send(to, source, knocks);
    await delay(400);
    const again = (await client.connect(to, guardedPort(0), { from: source })) === 'open';
    opens[rival.host] = { ...opens[rival.host], again };
  }
  return opens;
}
