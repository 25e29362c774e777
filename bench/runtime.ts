/** The supervisor's memory with the Node.js of the packages, beside the Node.js that runs this. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createWorld } from '../test/kernel/world.ts';
import { knocks } from '../test/supervisor/supervised.ts';
import { environment, flags } from '../test/supervisor/unit.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { program } from './subjects.ts';
import { SETTLED } from './supervisor.ts';

const ROUNDS = 5;
const FIGURES = ['Rss', 'Pss', 'Anonymous'] as const;

export async function benchRuntime(t: Parameters<typeof createWorld>[0]): Promise<void> {
  const packaged = readdirSync('build/cache').find(name => name.startsWith(`node-linux-${process.arch}`));
  if (!packaged) throw new Error('no runtime of the packages: npm run deb');
  const own = `Node.js ${process.version}`;
  const runtimes = { [own]: process.execPath, [packaged]: resolve('build/cache', packaged, 'bin/node') };
  const measured = new Map<string, Map<string, number>[]>();
  const starts = Array.from({ length: ROUNDS }, () => Object.entries(runtimes)).flat();
  // all at once: each only waits
  await Promise.all(
    starts.map(async ([name, runtime]) => {
      const world = await createWorld(t);
      world.write({ services: { ssh: { ports: [22], sequence: knocks } } });
      const words = [...flags, program, '--config', world.configFile, 'run'];
      const supervisor = world.start('server', runtime, words, environment);
      await supervisor.line(/"event":"loaded"/, 60_000);
      await delay(SETTLED);
      const rollup = readFileSync(`/proc/${supervisor.pid}/smaps_rollup`, 'utf8');
      const kilobytes = [...rollup.matchAll(/^(\w+):\s+(\d+) kB/gm)].map(
        ([, key = '', value]) => [key, Number(value) / 1024] as const,
      );
      measured.set(name, [...(measured.get(name) ?? []), new Map(kilobytes)]);
      await supervisor.stop();
    }),
  );
  const figures = (name: string) => {
    const medians = FIGURES.map(key =>
      quantile(
        (measured.get(name) ?? []).map(it => it.get(key) ?? Number.NaN),
        0.5,
      ),
    );
    const [rss = Number.NaN, , anonymous = Number.NaN] = medians;
    return [...medians, rss - anonymous];
  };
  const base = figures(own);
  console.log(
    `Memory of the supervisor ${SETTLED / 1000} s after its start (node ${flags.join(' ')}), in MiB: medians of ${ROUNDS} starts.\n`,
  );
  printTable(
    ['', ...FIGURES, 'of files'],
    [
      ...Object.keys(runtimes).map(name => [name, ...figures(name).map(it => it.toFixed(1))]),
      ['ratio', ...figures(packaged).map((it, index) => ratio(it, base[index] ?? Number.NaN))],
    ],
  );
}
