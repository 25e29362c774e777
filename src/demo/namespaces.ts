/** Whether namespaces can be made here, or what forbids them. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** Ordinary users do not have sbin on their PATH, where ip and nft are. */
export const environment = {
  ...process.env,
  PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`,
};

/** Programs, and the package that contains each. */
const PACKAGES = {
  unshare: 'Debian, Ubuntu, Fedora: package util-linux',
  nsenter: 'Debian, Ubuntu, Fedora: package util-linux',
  setpriv: 'Debian, Ubuntu, Fedora: package util-linux',
  ip: 'Debian, Ubuntu: package iproute2; Fedora: iproute',
} as const;

/** Settings that refuse namespaces, each with the value that does so and the one that does not. */
const SETTINGS = [
  ['kernel.unprivileged_userns_clone', '0', '1'],
  ['kernel.apparmor_restrict_unprivileged_userns', '1', '0'],
  ['user.max_user_namespaces', '0', '10000'],
  ['user.max_net_namespaces', '0', '10000'],
] as const;

type Possible =
  | { readonly is: 'possible'; readonly flags: string }
  /** A program is not installed. */
  | { readonly is: 'absent'; readonly why: string }
  /** The last words of unshare, and what may help. */
  | { readonly is: 'refused'; readonly why: string; readonly advice: string };

/** Looks for the first flags of unshare under which the script of a shell works. All of these programs are needed. */
export function tryNamespaces(
  programs: readonly (keyof typeof PACKAGES)[],
  ways: readonly string[],
  script: string,
): Possible {
  for (const program of programs)
    if (spawnSync(program, ['-V'], { env: environment }).error)
      return { is: 'absent', why: `${program} is not installed (${PACKAGES[program]})` };
  let why = '';
  for (const flags of ways) {
    const { status, stderr } = spawnSync('unshare', [flags, 'sh', '-c', script], {
      env: environment,
      encoding: 'utf8',
    });
    if (status === 0) return { is: 'possible', flags };
    why = stderr.trim().split('\n').at(-1) ?? '';
  }
  return { is: 'refused', why, advice: advice() };
}

function advice(): string {
  const refusing = SETTINGS.filter(([name, value]) => setting(name) === value);
  if (refusing.length === 0)
    return 'No setting forbids it, so it is likely a container: its seccomp profile refuses unshare(2). With Docker: --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined';
  return refusing
    .map(
      ([name, value, better]) => `${name} = ${value} forbids it; "sudo sysctl ${name}=${better}" allows it`,
    )
    .join('\n');
}

function setting(name: string): string | undefined {
  const path = `/proc/sys/${name.replaceAll('.', '/')}`;
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}
