/** Root trees of distributions without Node.js, for the lab: made by debootstrap once, and kept in build/cache. */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { lacking, run } from '../kernel/process.ts';
import { missing } from '../system/lab.ts';

export type Suite = 'bookworm' | 'trixie';

/** What is in it beside what every Debian has; the package manager of others, to be tried with ours. */
const INCLUDED = ['systemd', 'systemd-sysv', 'dbus', 'iproute2', 'nftables', 'rpm'];

/** The folder of the tree. Throws what debootstrap says where it cannot be made. */
export async function debian(suite: Suite): Promise<string> {
  const folder = resolve(`build/cache/tree-${suite}`);
  if (existsSync(folder)) return folder;
  const made = resolve(`build/cache/.tree-${suite}-${process.pid}`);
  const options = ['--variant=minbase', `--include=${INCLUDED.join()}`];
  const { status, stdout, stderr } = await run(['debootstrap', ...options, suite, made], {
    timeout: 580_000,
  });
  if (status !== 0) {
    rmSync(made, { recursive: true, force: true });
    throw new Error(`debootstrap ${suite}: ${stdout}${stderr}`);
  }
  renameSync(made, folder);
  return folder;
}

/** For a test's `skip`. */
export function missingTree(): string | false {
  return missing() || lacking('debootstrap');
}
