/**
 * Runs on the host where rulesets are loaded: reads commands as JSON from stdin, runs them one after the other in
 * rounds, and prints what each took.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export interface Command {
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
  /** The most memory that the process had, in KiB; NaN without GNU time. */
  readonly resident: number;
  /** What the kernel has less after it, in KiB. */
  readonly available: number;
  /** What the kernel has more in slabs and in large areas (vmalloc) after it, in KiB. */
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

function timed(command: readonly string[]): number {
  const start = performance.now();
  run(command);
  return performance.now() - start;
}

function kernelMemory(): { readonly available: number; readonly slabs: number } {
  const text = readFileSync('/proc/meminfo', 'utf8');
  const of = (name: string) => Number(text.match(new RegExp(`^${name}: +(\\d+)`, 'm'))?.[1]);
  return { available: of('MemAvailable'), slabs: of('Slab') + of('VmallocUsed') };
}

/** One more run, for memory, since looking at it takes time. */
async function memory({ command, cleanup }: Command): Promise<Omit<Measured, 'times'>> {
  const withTime = existsSync(GNU_TIME);
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

async function measureAll({ commands, rounds }: Plan): Promise<Measured[]> {
  const times: number[][] = commands.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [index, { command, cleanup }] of commands.entries()) {
      times[index]?.push(timed(command));
      run(cleanup);
    }
  const measured: Measured[] = [];
  for (const [index, command] of commands.entries())
    measured.push({ times: times[index] ?? [], ...(await memory(command)) });
  return measured;
}

const plan = JSON.parse(readFileSync(0, 'utf8')) as Plan;
process.stdout.write(JSON.stringify(await measureAll(plan)));
