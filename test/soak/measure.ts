/** Figures that must stay flat: the supervisor's memory and descriptors, files in its folders, elements of the kernel's sets. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../kernel/loaded.ts';
import type { World } from '../kernel/world.ts';
import { descriptors, privateMemory } from '../process-figures.ts';

/** How much the middle of the last third may be above that of the first third: a share of it, and an amount. */
const LIMITS = {
  'memory (kB)': { share: 0.1, amount: 2048 },
  descriptors: { share: 0, amount: 2 },
  files: { share: 0, amount: 2 },
  'bytes of files': { share: 0.5, amount: 65_536 },
  elements: { share: 0.25, amount: 50 },
} as const;

export type Sample = Readonly<Record<keyof typeof LIMITS, number>>;

/** Sets that grow by design: used tokens stay until no clock can bring them back, and mistakes for ten minutes. */
const KEPT_LONG = /^(used|mistaken_)/;

interface Listed {
  readonly nftables: readonly {
    readonly set?: { readonly name: string; readonly elem?: readonly unknown[] };
    readonly map?: { readonly name: string; readonly elem?: readonly unknown[] };
  }[];
}

/** @param folders those that the units give to the supervisor */
export async function measure(world: World, pid: number, folders: readonly string[]): Promise<Sample> {
  // it fails where a set is removed between its list of sets and their elements
  const { stdout } = await until(
    () => world.run('server', 'nft', ['-j', 'list', 'ruleset']),
    ({ status }) => status === 0,
  );
  const sets = (JSON.parse(stdout) as Listed).nftables.flatMap(({ set, map }) => set ?? map ?? []);
  const written = sets.filter(({ name }) => !KEPT_LONG.test(name));
  const files = folders
    .filter(existsSync)
    .flatMap(folder => readdirSync(folder).map(name => join(folder, name)));
  const sizes = files.map(file => statSync(file, { throwIfNoEntry: false })?.size ?? 0);
  return {
    'memory (kB)': privateMemory(pid),
    descriptors: descriptors(pid),
    files: files.length,
    'bytes of files': sizes.reduce((sum, size) => sum + size, 0),
    elements: written.reduce((sum, { elem = [] }) => sum + elem.length, 0),
  };
}

const middle = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** The middle of the first third and of the last one. */
export function thirds(samples: readonly Sample[], name: keyof Sample): readonly [number, number] {
  const values = samples.map(sample => sample[name]);
  const third = Math.ceil(values.length / 3);
  return [middle(values.slice(0, third)), middle(values.slice(-third))];
}

export const FIGURES = Object.keys(LIMITS) as readonly (keyof Sample)[];

/** The figures that grew more than they may, as sentences. */
export function growths(samples: readonly Sample[]): readonly string[] {
  return FIGURES.flatMap(name => {
    const [before, after] = thirds(samples, name);
    const { share, amount } = LIMITS[name];
    return after > before * (1 + share) + amount ? [`${name} grew from ${before} to ${after}`] : [];
  });
}
