/** A real sshd on a world's server, and a real ssh on its other hosts. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { environment, lacking, type Running } from './process.ts';
import type { World } from './world.ts';

export interface Sshd {
  /** The user who may log in, with a home of their own. */
  readonly user: string;
  /** Holds keys and files, also those of a test. */
  readonly folder: string;
  readonly running: Running;
  /** Writes an ssh_config for `ssh -F` with how to log in, and `more`. Returns its path. */
  sshConfig(more: string): string;
}

const USER = 'tester';
const UID = '4321';
/** sshd runs as an ordinary user: in such a world, an ordinary user of the machine can give it only one user. */
const AS_USER = ['-U', `--map-user=${UID}`, `--map-group=${UID}`];

/** For a test's `skip`: why {@link startSshd} is impossible here, or false. */
export function cannotSshd(): string | false {
  const absent = lacking('sshd', 'ssh', 'ssh-keygen');
  if (absent) return absent;
  const { status, stderr } = spawnSync('unshare', [...AS_USER, 'true'], { env: environment });
  return status !== 0 && `no sshd as an ordinary user: ${String(stderr).trim()}`;
}

/** Starts sshd on port 22 of the server. */
export async function startSshd(t: Pick<Test, 'teardown'>, world: World): Promise<Sshd> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-ssh-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  for (const key of ['host_key', 'user_key']) {
    const args = ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)];
    const { status, stderr } = await world.run('server', 'ssh-keygen', args);
    if (status !== 0) throw new Error(`ssh-keygen: ${stderr}`);
  }
  const publicKey = readFileSync(join(folder, 'user_key.pub'), 'utf8');
  const config = file(
    'sshd_config',
    `Port 22
HostKey ${folder}/host_key
AuthorizedKeysFile ${file('authorized_keys', publicKey)}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
PidFile none
`,
  );
  const passwd = file('passwd', `${USER}:x:${UID}:${UID}::${folder}:/bin/sh\n${readFileSync('/etc/passwd')}`);
  chmodSync(passwd, 0o644);
  const script = `set -e
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
mount --bind ${passwd} /etc/passwd
exec unshare ${AS_USER.join(' ')} $(command -v sshd) -D -e -f ${config}`;
  const running = world.start('server', 'sh', ['-c', script]);
  await running.line(/Server listening on :: port 22/);
  return {
    user: USER,
    folder,
    running,
    sshConfig: more =>
      file(
        'ssh_config',
        `User ${USER}
IdentityFile ${folder}/user_key
IdentitiesOnly yes
UserKnownHostsFile /dev/null
StrictHostKeyChecking no
LogLevel ERROR
${more}
`,
      ),
  };
}
