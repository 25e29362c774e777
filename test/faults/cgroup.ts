/** Control groups of a test: of the version, and with the controllers, that this machine has. */
import { existsSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';

interface Mount {
  readonly type: string;
  readonly path: string;
  readonly options: string;
}

const mounts = (): readonly Mount[] =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' '))
    .map(([, path = '', type = '', options = '']) => ({ path, type, options }));

/** A new group below that mount, which ends with the test; a sentence if it cannot be made. */
function makeGroup(t: Pick<Test, 'teardown'>, { path }: Mount, file: string): string {
  const group = mkdtempSync(join(path, 'knockd-nft-test-'));
  t.teardown(() => rmdirSync(group));
  if (!existsSync(join(group, file))) throw new Error(`${group} has no ${file}`);
  return group;
}

const unified = () => mounts().find(({ type }) => type === 'cgroup2');
const ofMemory = () =>
  mounts().find(({ type, options }) => type === 'cgroup' && options.split(',').includes('memory')) ??
  mounts().find(
    ({ type, path }) =>
      type === 'cgroup2' && readFileSync(join(path, 'cgroup.subtree_control'), 'utf8').includes('memory'),
  );

/** For a test's `skip`. */
export const cannotFreeze = () =>
  process.getuid?.() !== 0 ? 'needs root for a cgroup' : !unified() && 'no cgroup2 is mounted';
export const cannotLimit = () =>
  process.getuid?.() !== 0 ? 'needs root for a cgroup' : !ofMemory() && 'no cgroup of memory is mounted';

/** Freezes a process for as long as `meanwhile` takes. */
export async function frozen(
  t: Pick<Test, 'teardown'>,
  pid: number,
  meanwhile: () => Promise<void>,
): Promise<void> {
  const mount = unified();
  if (!mount) throw new Error('no cgroup2 is mounted');
  const group = makeGroup(t, mount, 'cgroup.freeze');
  const write = (file: string, text: string) => writeFileSync(join(group, file), text);
  write('cgroup.procs', String(pid));
  write('cgroup.freeze', '1');
  while (!readFileSync(join(group, 'cgroup.events'), 'utf8').includes('frozen 1')) await delay(10);
  try {
    await meanwhile();
  } finally {
    write('cgroup.freeze', '0');
    writeFileSync(join(mount.path, 'cgroup.procs'), String(pid));
  }
}

/** From now on, a process that runs may take so many bytes more, and swap none. If it takes more, the kernel ends it. */
export function limitMemory(t: Pick<Test, 'teardown'>, pid: number, bytes: number): void {
  const mount = ofMemory();
  if (!mount) throw new Error('no cgroup of memory is mounted');
  const isOld = mount.type === 'cgroup';
  const limit = isOld ? 'memory.limit_in_bytes' : 'memory.max';
  const group = makeGroup(t, mount, limit);
  writeFileSync(join(group, limit), String(bytes));
  const swap = join(group, isOld ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max');
  if (existsSync(swap)) writeFileSync(swap, isOld ? String(bytes) : '0');
  writeFileSync(join(group, 'cgroup.procs'), String(pid));
}

/** A script that puts its shell into a group with that many bytes of memory. `ip netns exec` hides the mounts in /sys. */
export function withMemory(t: Pick<Test, 'teardown'>): (bytes: number) => string {
  const mount = ofMemory();
  if (!mount) throw new Error('no cgroup of memory is mounted');
  const isOld = mount.type === 'cgroup';
  const limit = isOld ? 'memory.limit_in_bytes' : 'memory.max';
  const group = makeGroup(t, mount, limit);
  const how = isOld ? '-t cgroup -o memory' : '-t cgroup2';
  return bytes =>
    `M=$(mktemp -d); mount ${how} cgroup $M; echo ${bytes} >$M/${group.slice(mount.path.length)}/${limit}
echo $$ >$M/${group.slice(mount.path.length)}/cgroup.procs; umount $M; rmdir $M; exec "$@"`;
}
