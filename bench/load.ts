/** The cost of a load: ours beside `nft -f` on the output of `render`, and beside a bare start of node. */
import { writeFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';
import { createWorld, type World } from '../test/kernel/world.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { measure } from './measure.ts';
import type { Command } from './runner.ts';
import { bareNode, configuration, program } from './subjects.ts';

const COUNTS = [1, 100, 1000] as const;
const ROUNDS = 11;
/** Bytes: with 1,000 services nft takes 4 GiB of kernel memory. */
const ENOUGH = 8 * 2 ** 30;

/** 10,000 sequences, as 2,500 services with 4 users; the size of the sets of clients is nft's burden. */
const LARGE = { services: 2500, users: 4, clients: 256, rounds: 3 } as const;

const cleanup = ['nft', 'delete', 'table', 'inet', 'knockd'];

/** Ours and nft's way to load the same configuration. */
async function rivals(world: World, name: string, config: object): Promise<readonly [Command, Command]> {
  const folder = dirname(world.configFile);
  const file = join(folder, `${name}.json`);
  const script = join(folder, `${name}.nft`);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const { status, stdout, stderr } = await world.knockd(['render'], { config: file });
  if (status !== 0) throw new Error(`render: ${stderr}`);
  writeFileSync(script, stdout);
  return [
    { command: [process.execPath, program, '--config', file, 'load'], cleanup },
    { command: ['nft', '-f', script], cleanup },
  ];
}

/** Measures and prints; `large` is 10,000 sequences, which takes memory. */
export async function benchLoad(t: Parameters<typeof createWorld>[0], large: boolean): Promise<void> {
  const world = await createWorld(t);
  const subjects = large
    ? [{ name: '10,000 sequences', config: configuration(LARGE.services, LARGE.users, LARGE.clients) }]
    : COUNTS.filter(count => count < 1000 || freemem() > ENOUGH).map(count => ({
        name: `${count} service${count === 1 ? '' : 's'}`,
        config: configuration(count),
      }));
  if (!large && subjects.length < COUNTS.length)
    console.log(
      '1,000 services are left out: nft needs 4 GiB of kernel memory for them, and more must be free.\n',
    );
  const pairs: (readonly [Command, Command])[] = [];
  for (const { name, config } of subjects)
    pairs.push(await rivals(world, name.replaceAll(/\W/g, '-'), config));
  const rounds = large ? LARGE.rounds : ROUNDS;
  const [node, ...measured] = await measure(world, 'server', {
    commands: [bareNode, ...pairs.flat()],
    rounds,
  });
  console.log(`Load: from the start of the process to its end, when the ruleset stands; nft loads what our "render" prints.
Least (median) of ${rounds} interleaved rounds. Memory of the process at most; the kernel's from one run: what there is less
available, and more in slabs and vmalloc, which whatever else runs disturbs.${large ? ` Sets of ${LARGE.clients} clients: with the default, nft lays out 1 MiB for each of 10,000 sets.` : ''}\n`);
  const names = ['node -e 0', ...subjects.flatMap(({ name }) => [`knockd-nft, ${name}`, `nft -f, ${name}`])];
  const bare = Math.min(...(node?.times ?? []));
  printTable(
    ['', 'ms', '(median)', 'to node -e 0', 'to nft -f', 'process', 'available', 'slabs+vmalloc'],
    [node, ...measured].map((one, index) => {
      if (!one) return [];
      const time = Math.min(...one.times);
      const rival = measured[index]; // of ours: the next one
      return [
        names[index] ?? '',
        time.toFixed(0),
        `(${quantile(one.times, 0.5).toFixed(0)})`,
        ratio(time, bare),
        index % 2 === 1 && rival ? ratio(time, Math.min(...rival.times)) : '',
        mebibytes(one.resident),
        mebibytes(one.available),
        mebibytes(one.slabs),
      ];
    }),
  );
  console.log('');
}

function mebibytes(kibibytes: number): string {
  return Number.isFinite(kibibytes) ? `${(kibibytes / 1024).toFixed(1)} MiB` : '-';
}
