/** How a rival comes to guard a host: its files, its commands, its daemon, and what that costs. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../../test/kernel/world.ts';
import type { Standing } from './rival.ts';

/** A daemon has to be ready after this many milliseconds. */
const READY = 30_000;

/** Files of a host. */
export function folderOf(world: World, host: string): string {
  const folder = join(dirname(world.configFile), host);
  mkdirSync(folder, { recursive: true });
  return folder;
}

export function write(world: World, host: string, name: string, text: string): string {
  const file = join(folderOf(world, host), name);
  writeFileSync(file, text);
  chmodSync(file, 0o600);
  return file;
}

export async function did(
  world: World,
  host: string,
  command: string,
  args: readonly string[],
  env = {},
): Promise<void> {
  const { status, stderr } = await world.run(host, command, args, { env, timeout: 120_000 });
  if (status !== 0) throw new Error(`${command} on ${host}: ${stderr.trim() || `status ${status}`}`);
}

/** In slabs and large areas, MiB. */
function kernelMemory(): number {
  const text = readFileSync('/proc/meminfo', 'utf8');
  const of = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]);
  return (of('Slab') + of('VmallocUsed')) / 1024;
}

interface Daemon {
  readonly command: readonly string[];
  /** The text in its log when it is ready. */
  readonly ready: RegExp;
  readonly env?: Readonly<Record<string, string>>;
  /** The kernel guards without it. */
  readonly beside?: true;
}

/** Its output goes into a file, as under a service manager, since nobody here reads a flood of it. */
async function daemon(world: World, host: string, { command, ready, env }: Daemon) {
  const log = write(world, host, 'log', '');
  const running = world.start(
    host,
    'sh',
    ['-c', 'log=$1; shift; exec "$@" >"$log" 2>&1', 'sh', log, ...command],
    env,
  );
  let end: string | undefined;
  running.ended.then(({ status }) => {
    end ??= `it ended with ${status}`;
  });
  for (const deadline = performance.now() + READY; !ready.test(readFileSync(log, 'utf8')); await delay(2)) {
    if (performance.now() > deadline) end ??= `it was not ready after ${READY / 1000} s`;
    if (end === undefined) continue;
    await running.stop('SIGKILL');
    throw new Error(
      `${end}${readFileSync(log, 'utf8').trim().slice(-200).replace(/^/, ': ').replace(/^: $/, '')}`,
    );
  }
  return running;
}

/** A firewall that a command loads, and perhaps a daemon. */
export async function stand(
  world: World,
  host: string,
  load: () => Promise<void>,
  service?: Daemon,
  unload = () => did(world, host, 'nft', ['flush', 'ruleset']),
): Promise<Standing> {
  const before = kernelMemory();
  const start = performance.now();
  await load();
  const loaded = performance.now();
  const kernel = kernelMemory() - before;
  const again = performance.now();
  const running = service && (await daemon(world, host, service));
  return {
    pids: running ? [running.pid] : [],
    milliseconds: loaded - start + (service?.beside ? 0 : performance.now() - again),
    kernel,
    async remove() {
      await running?.stop();
      await unload();
    },
  };
}

export const nftFile = (world: World, host: string, text: string) => {
  const file = write(world, host, 'rules.nft', text);
  return () => did(world, host, 'nft', ['-f', file]);
};
export const iptablesFile = (world: World, host: string, text: string) => {
  const file = write(world, host, 'rules', text);
  return () => did(world, host, 'iptables-restore', [file]);
};
