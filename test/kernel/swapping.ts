/** For tests of swaps: configurations to swap between, and the kernel's objects as nft lists them. */
import { pathToFileURL } from 'node:url';
import { patient, ssh } from './loaded.ts';
import { HUNG } from './process.ts';
import { missing, type World } from './world.ts';

export const needs = { skip: missing('namespaces', 'nft', 'knockd') };

export const admin = {
  ports: [8443],
  sequences: { alice: [4001, 4003, 4005], bob: [4001, 4007, 4009] },
  ...patient,
} as const;
export const echo = { ports: ['7777/udp'], sequence: [5001, 5003, 5005], ...patient } as const;
export const base = { services: { ssh, admin } } as const;

export interface SetElement {
  readonly key: string;
  readonly data: number | undefined;
  /** Seconds; undefined for no time-out. */
  readonly timeout: number | undefined;
  readonly expires: number | undefined;
}

type JsonElement =
  | string
  | { elem: { val: string | object; timeout?: number; expires?: number } }
  | { concat: unknown }
  | [JsonElement, number];

function readElement(element: JsonElement): SetElement {
  if (Array.isArray(element)) return { ...readElement(element[0]), data: element[1] };
  const full = typeof element === 'object' && 'elem' in element ? element.elem : { val: element };
  const { val, timeout, expires }: { val: string | object; timeout?: number; expires?: number } = full;
  return { key: typeof val === 'string' ? val : JSON.stringify(val), data: undefined, timeout, expires };
}

/** Objects on the server, as in nft's JSON. */
async function listed(world: World, what: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  const { stdout, stderr, status } = await world.run('server', 'nft', ['--json', 'list', ...what]);
  if (status !== 0) throw new Error(`nft list ${what.join(' ')}: ${stderr}`);
  const { nftables } = JSON.parse(stdout) as { nftables: readonly Record<string, unknown>[] };
  return nftables;
}

/** All sets and maps of a table of ours, by name. */
export async function state(world: World, table = 'knockd'): Promise<ReadonlyMap<string, SetElement[]>> {
  const all = new Map<string, SetElement[]>();
  for (const { set, map } of await listed(world, ['table', 'inet', table])) {
    const found = (set ?? map) as { name: string; elem?: JsonElement[] } | undefined;
    const elements = (found?.elem ?? []).map(readElement).sort((a, b) => (a.key < b.key ? -1 : 1));
    if (found) all.set(found.name, elements);
  }
  return all;
}

export async function elements(world: World, name: string): Promise<readonly SetElement[]> {
  const found = (await state(world)).get(name);
  if (!found) throw new Error(`there is no set ${name}`);
  return found;
}

/** Packets of all counters on the server. */
export async function counters(world: World): Promise<Record<string, number>> {
  const found = (await listed(world, ['counters'])).flatMap(({ counter }) => counter ?? []);
  return Object.fromEntries((found as { name: string; packets: number }[]).map(it => [it.name, it.packets]));
}

/** `nft list` without what may differ between equal rulesets: the order of objects and elements, counts, times left. */
export async function program(world: World, args: readonly string[] = ['ruleset']): Promise<string> {
  const { stdout, status } = await world.run('server', 'nft', ['-n', 'list', ...args]);
  if (status !== 0) return 'none';
  const objects = stdout
    .replace(/expires \w+/g, '')
    .replace(/packets \d+ bytes \d+/g, '')
    .replace(/(?<=set knockers_[^}]*)elements = [^}]*\}/g, '')
    .replace(/^\t?\}\n/gm, '')
    .split(/^(?=\t\w+ \S+ \{)/m)
    .map(object => object.trimEnd())
    .map(object => object.replace(/(?<=elements = \{)[^}]*/, list => list.split(/,\s+/).sort().join()));
  return objects.sort().join('\n');
}

/** Writes a configuration to a file of its own. */
export async function kept(world: World, config: object, number: number): Promise<string> {
  const file = `${world.configFile}.${number}`;
  await world.run('server', 'cp', ['-p', world.write(config), file]);
  return file;
}

/** Modules of the build, for scripts that run on the server. */
export const built = (path: string) => JSON.stringify(pathToFileURL(`build/src/${path}`).href);

/** Runs the source of a module on the server, to its end. */
export async function script(world: World, source: string, args: readonly string[] = []): Promise<string> {
  const { status, stdout, stderr } = await world.run(
    'server',
    process.execPath,
    ['--input-type=module', '-e', source, ...args],
    { timeout: 4 * HUNG },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
