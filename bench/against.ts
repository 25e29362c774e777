/** This program beside that of an earlier commit, in pairs: of two neighbours, each comes first as often as the other. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createWorld, type World } from '../test/kernel/world.ts';
import { environment } from '../test/supervisor/unit.ts';
import { printTable, quantile } from './figures.ts';
import { measure } from './measure.ts';
import { secondsOf } from './processor.ts';
import type { Command } from './runner.ts';
import { configuration } from './subjects.ts';
import { save, supervise, tellGenerations } from './supervisor.ts';

const COUNTS = [1, 100] as const;
const SAVED = [1, 100, 1000] as const;
const ROUNDS = 30;
const SAVES = 16;
/** A figure may grow by so much. */
const ALLOWED = 1.03;

type Teardown = Parameters<typeof createWorld>[0];

/** Figures of one kind: of the earlier program and of this one, round by round. */
interface Pair {
  readonly name: string;
  readonly times: readonly [before: readonly number[], now: readonly number[]];
  readonly cpu: readonly [before: readonly number[], now: readonly number[]];
}

/** Measures and prints. The exit status is 1 if a figure is surely worse by more than 3 %. */
export async function benchAgainst(t: Teardown, commit: string): Promise<void> {
  const folders = [programOf(t, commit), resolve('.')] as const;
  const world = await createWorld(t);
  const pairs = await commands(world, folders);
  for (const count of SAVED) pairs.push(await saves(t, folders, count));
  console.log(`Beside ${String(git('log', '-1', '--format=%h (%s)', commit)).trim()}:
milliseconds, medians of ${ROUNDS} pairs (of ${SAVES} saves). The ratio is the median of the ratios of the pairs, with a 95 % interval.\n`);
  const row = (before: readonly number[], now: readonly number[]) => {
    const { middle, low, high } = compared(before, now);
    const range = `${low.toFixed(2)}-${high.toFixed(2)}`;
    return [quantile(before, 0.5).toFixed(0), quantile(now, 0.5).toFixed(0), `${middle.toFixed(3)} x`, range];
  };
  printTable(
    ['', 'before', 'now', 'ratio', '', 'CPU before', 'now', 'ratio', ''],
    pairs.map(({ name, times, cpu }) => [name, ...row(...times), ...row(...cpu)]),
  );
  const worse = pairs.filter(({ times, cpu }) =>
    [times, cpu].some(([before, now]) => compared(before, now).low > ALLOWED),
  );
  if (worse.length === 0) return console.log('\nNo figure is surely worse by more than 3 %.\n');
  console.log(`\nWorse by more than 3 %: ${worse.map(({ name }) => name).join(', ')}.\n`);
  process.exitCode = 1;
}

function git(...words: readonly string[]): Buffer {
  return execFileSync('git', words, { maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Makes the program of a commit, with this clone's packages. Returns its folder, which goes with the run. */
function programOf(t: Teardown, commit: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-against-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  execFileSync('tar', ['-x', '-C', folder], { input: git('archive', commit) });
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  for (const script of ['scripts/bundle.mjs', 'scripts/compile.mjs'])
    if (existsSync(join(folder, script)))
      execFileSync(process.execPath, [script], { cwd: folder, stdio: 'inherit' });
  return folder;
}

/** As packages start it: older ones have no compiled code. */
function program(folder: string): string {
  const compiled = join(folder, 'compiled/knockd-nft.cjs');
  return existsSync(compiled) ? compiled : join(folder, 'dist/knockd-nft.cjs');
}

/** The flags of Node.js in the supervisor's unit. */
function flags(folder: string): readonly string[] {
  const unit = readFileSync(join(folder, 'systemd/knockd-nft.service'), 'utf8');
  return /^ExecStart=\S*node (--.*?) \//m.exec(unit)?.[1]?.split(' ') ?? [];
}

async function commands(world: World, folders: readonly [string, string]): Promise<Pair[]> {
  const subjects = COUNTS.flatMap(count => {
    const file = join(dirname(world.configFile), `${count}.json`);
    writeFileSync(file, JSON.stringify(configuration(count)), { mode: 0o600 });
    const services = `of ${count} service${count === 1 ? '' : 's'}`;
    return ['check', 'render', 'load', 'status'].map(word => ({
      name: `${word} ${services}`,
      words: ['--config', file, word],
    }));
  });
  const nothing = ['true'];
  const unload = ['nft', 'delete', 'table', 'inet', 'knockd'];
  const list = [{ name: '--version', words: ['--version'] }, ...subjects];
  const measured = await measure(world, 'server', {
    rounds: ROUNDS,
    commands: list.flatMap(({ words }) =>
      folders.map((folder): Command => {
        const node = [process.execPath, program(folder)];
        const [, file = ''] = words;
        const loads = words.includes('load') || words.includes('status');
        return {
          ...(words.includes('status') && { prepare: [...node, '--config', file, 'load'] }),
          command: [...node, ...words],
          cleanup: loads ? unload : nothing,
        };
      }),
    ),
  });
  return list.map(({ name }, index) => {
    const [before, now] = [measured[index * 2], measured[index * 2 + 1]];
    if (!before || !now) throw new Error(`${name} was not measured`);
    return { name, times: [before.times, now.times], cpu: [before.cpu, now.cpu] };
  });
}

/** From a save to the new ruleset, and what it costs the supervisor. Both programs follow a file, each on a server of its own. */
async function saves(t: Teardown, folders: readonly [string, string], count: number): Promise<Pair> {
  const config = configuration(count);
  const sides = [];
  for (const folder of folders) {
    const world = await createWorld(t);
    const supervisor = await supervise(world, config, environment, [...flags(folder), program(folder)]);
    sides.push({ world, supervisor, generations: tellGenerations(world), times: [], cpu: [] } as Side);
  }
  for (let round = 1; round <= SAVES; round++)
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const { world, supervisor, generations, times, cpu } = side;
      await delay(500 + (round % 3) * 170); // not in step with the supervisor's own clock
      const before = secondsOf(supervisor.pid);
      times.push(await save(world, { ...config, public: [60_000 + round] }, supervisor, generations));
      await delay(300); // what it does after it has said so
      cpu.push((secondsOf(supervisor.pid) - before) * 1000);
    }
  for (const { supervisor, generations } of sides) {
    await generations.stop();
    await supervisor.stop();
  }
  const [before, now] = sides;
  if (!before || !now) throw new Error('both sides are measured');
  return {
    name: `save of ${count} service${count === 1 ? '' : 's'}`,
    times: [before.times, now.times],
    cpu: [before.cpu, now.cpu],
  };
}

interface Side {
  readonly world: World;
  readonly supervisor: Awaited<ReturnType<typeof supervise>>;
  readonly generations: ReturnType<typeof tellGenerations>;
  readonly times: number[];
  readonly cpu: number[];
}

/** The median of the pairs' ratios, and the bounds of a 95 % interval around it, by ranks. */
function compared(before: readonly number[], now: readonly number[]) {
  const ratios = now.map((value, index) => value / (before[index] ?? Number.NaN)).sort((a, b) => a - b);
  const rank = Math.max(0, Math.floor(ratios.length / 2 - Math.sqrt(ratios.length) * 0.98));
  const at = (index: number) => ratios[index] ?? Number.NaN;
  return { middle: quantile(ratios, 0.5), low: at(rank), high: at(ratios.length - 1 - rank) };
}
