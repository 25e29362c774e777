/**
 * Runs on the host where rulesets are loaded: reads commands as JSON from stdin, runs them one after the other in
 * rounds, and prints what each took.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { secondsOfChildren } from './processor.ts';

export interface Command {
  /** Makes what the command needs; not measured. */
  readonly prepare?: readonly string[];
  readonly command: readonly string[];
  /** Removes what the command made; not measured. */
  readonly cleanup: readonly string[];
}

export interface Plan {
  readonly commands: readonly Command[];
  readonly rounds: number;
}

export interface Measured {
  /** From the start of the process to its end, in milliseconds, one for each round. */
  readonly times: readonly number[];
  /** CPU time of the process, in milliseconds, one for each round. */
  readonly cpu: readonly number[];
  /** The most memory that the process had, in KiB; NaN without GNU time. */
  readonly resident: number;
  /** The loss of the kernel's available memory, in KiB. */
  readonly available: number;
  /** The growth of the kernel's slabs and large areas (vmalloc), in KiB. */
  readonly slabs: number;
}

const GNU_TIME = '/usr/bin/time';

function run([program = '', ...args]: readonly string[]): { readonly stderr: string } {
  const { status, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return { stderr };
}

function timed({ prepare, command, cleanup }: Command): readonly [milliseconds: number, cpu: number] {
  if (prepare) run(prepare);
  const before = secondsOfChildren();
  const start = performance.now();
  run(command);
  const time = performance.now() - start;
  const cpu = secondsOfChildren() - before;
  run(cleanup);
  return [time, cpu * 1000];
}

function kernelMemory(): { readonly available: number; readonly slabs: number } {
  const text = readFileSync('/proc/meminfo', 'utf8');
  const of = (name: string) => Number(text.match(new RegExp(`^${name}: +(\\d+)`, 'm'))?.[1]);
  return { available: of('MemAvailable'), slabs: of('Slab') + of('VmallocUsed') };
}

/** One more run, for memory, since looking at it takes time. */
async function memory({ prepare, command, cleanup }: Command): Promise<Omit<Measured, 'times' | 'cpu'>> {
  const withTime = existsSync(GNU_TIME);
  if (prepare) run(prepare);
  await delay(500); // the kernel frees what was removed a little later
  const before = kernelMemory();
  const { stderr } = run(withTime ? [GNU_TIME, '-f', '%M', ...command] : command);
  const after = kernelMemory();
  run(cleanup);
  return {
    resident: withTime ? Number(stderr.trim().split('\n').at(-1)) : Number.NaN,
    available: before.available - after.available,
    slabs: after.slabs - before.slabs,
  };
}

/** Every other round goes backwards, so that neither of two neighbours always comes after the other. */
async function measureAll({ commands, rounds }: Plan): Promise<Measured[]> {
  const series = commands.map(command => ({ command, times: [] as number[], cpu: [] as number[] }));
  for (let round = 0; round < rounds; round++)
    for (const { command, times, cpu } of round % 2 === 0 ? series : series.toReversed()) {
      const [time, used] = timed(command);
      times.push(time);
      cpu.push(used);
    }
  const measured: Measured[] = [];
  for (const { command, ...figures } of series) measured.push({ ...figures, ...(await memory(command)) });
  return measured;
}

const plan = JSON.parse(readFileSync(0, 'utf8')) as Plan;
process.stdout.write(JSON.stringify(await measureAll(plan)));
