/** Shared by the tests of `try`: the command as a login starts it, and the rules that it must bring back. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import type { Running } from './process.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

export const trying = /is undone at/;

export const reach = (world: World) => world.host('client').connect(world.server.ipv4, 22);

export function candidate(world: World, config: object): string {
  const file = `${world.configFile}.new`;
  writeFileSync(file, JSON.stringify(config));
  chmodSync(file, 0o600);
  return file;
}

/**
 * A time for `--for`, enough for `steps` commands or connections on this machine, as busy as it is. It measures two of them,
 * of which the second starts the client's agent.
 */
export async function enough(world: World, steps: number): Promise<string> {
  const start = performance.now();
  await world.knockd(['status']);
  await reach(world);
  const each = (performance.now() - start) / 2000;
  return `${Math.max(2, Math.ceil(5 * each * steps))}s`;
}

/** `try` in a session of its own, as after a login. */
export function startTry(
  world: World,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Running {
  const command = [process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, 'try', ...words];
  return world.start('server', 'setsid', command, env);
}

/** A world whose server has a listener and a loaded configuration. */
export async function loaded(t: Test, config: object | undefined, options: WorldOptions = {}) {
  const world = await createWorld(t, options);
  const environment = { STATE_DIRECTORY: join(dirname(world.configFile), 'state') };
  await world.host('server').listen(22);
  if (config) {
    world.write(config);
    t.equal((await world.knockd(['load'])).status, 0);
  }
  return { world, environment };
}

/** A folder for the runtime files that the test can read, too. */
export function runtime(world: World): { readonly RUNTIME_DIRECTORY: string } {
  const RUNTIME_DIRECTORY = `${world.configFile}.run`;
  mkdirSync(RUNTIME_DIRECTORY);
  return { RUNTIME_DIRECTORY };
}

interface Listed {
  readonly family: string;
  readonly table?: string;
  readonly chain?: string;
  readonly name?: string;
  readonly elem?: readonly unknown[];
  /** With `timeout` it is state, not program. */
  readonly flags?: readonly string[];
}

/**
 * The whole ruleset as nft sees it, a line for each object, without what time and packets change. nft lists a new object in
 * another place, so objects and elements are sorted. The rules of a chain stay in their order.
 */
export async function rules(world: World): Promise<string> {
  const { stdout } = await world.run('server', 'nft', ['--json', '--stateless', 'list', 'ruleset']);
  const { nftables } = JSON.parse(stdout) as { nftables: readonly Record<string, Listed>[] };
  const objects = new Map<string, unknown[]>();
  for (const entry of nftables) {
    const [[kind = '', { family, table, chain, name, elem, ...rest } = { family: '' }] = []] =
      Object.entries(entry);
    if (kind === 'metainfo') continue;
    const id = [kind, family, table, chain, name].filter(Boolean).join(' ');
    const program = !rest.flags?.includes('timeout');
    const value = {
      ...rest,
      handle: 0,
      ...(elem && program && { elem: elem.map(it => JSON.stringify(it)).sort() }),
    };
    objects.set(id, [...(objects.get(id) ?? []), value]);
  }
  return [...objects]
    .map(([id, values]) => `${id} ${JSON.stringify(values, withoutCounts)}`)
    .sort()
    .join('\n');
}

function withoutCounts(key: string, value: unknown): unknown {
  return key === 'packets' || key === 'bytes' ? 0 : value;
}
