/** Root trees of distributions without Node.js, for the lab: made by debootstrap once, and kept in build/cache. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { lacking, run } from '../kernel/process.ts';
import { missing } from '../system/lab.ts';

export type Suite = 'bookworm' | 'trixie';

/** Packages in it beside those that every Debian has; the package manager of others, to be tried with ours. */
const INCLUDED = [
  ...['systemd', 'systemd-sysv', 'dbus', 'iproute2', 'nftables', 'rpm'],
  ...['openssh-server', 'openssh-client'], // for getting-started
];

/** The folder of the tree. Throws debootstrap's message if it cannot be made. */
export async function debian(suite: Suite): Promise<string> {
  const version = createHash('sha256').update(INCLUDED.join()).digest('hex').slice(0, 8);
  const folder = resolve(`build/cache/tree-${suite}-${version}`);
  // several test files may want the same one: one makes it, and the others wait
  const script = `[ -e ${folder} ] || { rm -rf ${folder}.new && debootstrap --variant=minbase --include=${INCLUDED.join()} ${suite} ${folder}.new && mv ${folder}.new ${folder}; }`;
  const { status, stdout, stderr } = await run(['flock', `${folder}.lock`, 'sh', '-c', script], {
    timeout: 580_000,
  });
  if (status !== 0 || !existsSync(folder)) throw new Error(`debootstrap ${suite}: ${stdout}${stderr}`);
  return folder;
}

/** For a test's `skip`. */
export function missingTree(): string | false {
  return missing() || lacking('debootstrap');
}
