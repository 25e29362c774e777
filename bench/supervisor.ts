/**
 * The cost of the supervisor: from a save to the kernel's new ruleset, its memory, and its work when nothing happens.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createWorld, type World } from '../test/kernel/world.ts';
import { knocks } from '../test/supervisor/supervised.ts';
import { flags, environment as malloc } from '../test/supervisor/unit.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { configuration, program } from './subjects.ts';
import { work } from './work.ts';

const COUNTS = [1, 100, 1000] as const;
const ROUNDS = 7;
const EVENTS = 10_000;
const IDLE_SECONDS = 60;
/**
 * By then V8 has collected the garbage of the start, which takes as much time as many idle minutes, the supervisor has given back
 * for the last time what the start left, and the garbage of idle times was collected, too.
 */
export const SETTLED = 130_000;

const built = (name: string) => new URL(name, import.meta.url).href;

type Running = ReturnType<World['start']>;

/** A supervisor that has loaded the configuration. `node` are the words to start the program with, after `node`. */
export async function supervise(
  world: World,
  config: object,
  environment: Readonly<Record<string, string>> = {},
  node: readonly string[] = [...flags, program],
): Promise<Running> {
  world.write(config);
  const words = [...node, '--config', world.configFile, 'run'];
  const supervisor = world.start('server', process.execPath, words, { ...malloc, ...environment });
  await supervisor.line(/"event":"(loaded|unchanged|swapped)"/, 60_000);
  return supervisor;
}

/** Tells each new generation of the server's ruleset. */
export function tellGenerations(world: World): Running {
  return world.start('server', process.execPath, [fileURLToPath(built('./generation.js'))]);
}

/** Saves a configuration. Returns the milliseconds from the end of the save to the new ruleset in the kernel. */
export async function save(
  world: World,
  config: object,
  supervisor: Running,
  generations: Running,
): Promise<number> {
  world.write(config);
  const saved = process.hrtime.bigint();
  let there = 0n;
  while (there < saved) there = BigInt(await generations.line(/^\d+$/, 60_000));
  await supervisor.line(/"event":"swapped"/, 60_000);
  return Number(there - saved) / 1e6;
}

/** Resident and private memory in MiB. */
export function memory(pid: number): readonly [resident: number, own: number] {
  const kilobytes = (name: RegExp) =>
    [...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(name)].reduce(
      (sum, match) => sum + Number(match[1]),
      0,
    );
  return [kilobytes(/^Rss:\s+(\d+)/gm) / 1024, kilobytes(/^Private_\w+:\s+(\d+)/gm) / 1024];
}

export async function benchSupervisor(t: Parameters<typeof createWorld>[0]): Promise<void> {
  const rows: (readonly string[])[] = [];
  let one = Number.NaN;
  for (const count of COUNTS) {
    const world = await createWorld(t);
    const config = configuration(count);
    const supervisor = await supervise(world, config, { NODE_OPTIONS: `--import ${built('./loop.js')}` });
    const generations = tellGenerations(world);
    const times: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      await delay(500 + (round % 3) * 170); // not in step with the supervisor's own clock
      times.push(await save(world, { ...config, public: [60_000 + round] }, supervisor, generations));
    }
    await generations.stop();
    await delay(2000);
    await supervisor.stop();
    const held = Number(await supervisor.line(/^held /).then(line => line.slice(5)));
    const median = quantile(times, 0.5);
    if (count === 1) one = median;
    rows.push([
      `${count}`,
      median.toFixed(0),
      `(${Math.max(...times).toFixed(0)})`,
      ratio(median, one),
      held.toFixed(0),
    ]);
  }
  console.log(`Supervisor (node ${flags.join(' ')}): milliseconds from the end of a save to the new ruleset in the kernel, median (most)
of ${ROUNDS}; for how long its event loop was held at most.\n`);
  printTable(['services', 'ms', '(most)', 'to 1 service', 'held'], rows);
  await benchIdle(t);
}

async function benchIdle(t: Parameters<typeof createWorld>[0]): Promise<void> {
  const world = await createWorld(t);
  const service = { ports: [22], sequence: knocks, openFor: '1s' };
  const supervisor = await supervise(world, { services: { ssh: service }, log: { refused: true } });
  await delay(SETTLED);
  const before = memory(supervisor.pid);
  const start = work(supervisor.pid);
  await delay(IDLE_SECONDS * 1000);
  const end = work(supervisor.pid);
  const client = world.host('client');
  const seen = () => supervisor.lines().filter(line => line.includes('"event":"refused"')).length;
  // the kernel reports ten refused connections a second, so the events come from as many services as it takes
  const many = Array.from({ length: 200 }, (_, index) => [
    `s${index}`,
    { ...service, ports: [20_000 + index], sequence: [1000 + index * 7, 30_000 + index * 3, 50_000 + index] },
  ]);
  world.write({ services: Object.fromEntries(many), log: { refused: true } });
  await supervisor.line(/"event":"swapped"/, 60_000);
  const ports = many.map((_, index) => `${20_000 + index}/tcp`);
  while (seen() < EVENTS) {
    await client.flood({
      to: world.server.ipv4,
      knocks: ports,
      sources: { first: '198.18.0.1', count: 1000 },
      count: 4000,
      rate: 4000,
    });
  }
  await delay(2000);
  const after = memory(supervisor.pid);
  const share = ((end.seconds - start.seconds) / IDLE_SECONDS) * 100;
  console.log(`
  idle for ${IDLE_SECONDS} s: ${share.toFixed(3)} % of a core, ${((end.waits - start.waits) / IDLE_SECONDS).toFixed(1)} wake-ups a second
  memory idle: ${before[0].toFixed(1)} MiB resident, ${before[1].toFixed(1)} MiB private
  memory after ${EVENTS} events: ${after[0].toFixed(1)} MiB resident, ${after[1].toFixed(1)} MiB private\n`);
  await supervisor.stop();
}
