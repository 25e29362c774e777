/**
 * A folder as of another machine: sshfs, whose server runs here, on another folder of the test. A change in that folder is one that
 * inotify does not report. The server can stand still, take its time, or be gone.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { lacking, type Running } from '../kernel/process.ts';
import { missing, type World } from '../kernel/world.ts';
import { until } from '../supervisor/supervised.ts';
import { cannotInject } from './strace.ts';

const SERVER = '/usr/lib/openssh/sftp-server';

/** For a test's `skip`. */
export function cannotMount(): string | false {
  const none = missing('namespaces', 'nft', 'knockd') || lacking('sshfs', 'pgrep') || cannotInject();
  if (none) return none;
  if (process.getuid?.() !== 0) return 'needs root for a file system of its own';
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
  } catch {
    return '/dev/fuse cannot be opened';
  }
  return !existsSync(SERVER) && 'openssh-sftp-server is not installed';
}

export interface Away {
  /** The configuration, as programs on this machine see it. */
  readonly configFile: string;
  /** Replaces a file over there, mode 0600. */
  write(config: object | string, name?: string): void;
  /** A new folder over there, as programs on this machine see it. */
  folder(name: string): string;
  /** Starts a program on the server of the world that sees the folder. */
  start(command: readonly string[], env?: Readonly<Record<string, string>>): Running;
  /** Starts our program there. */
  startKnockd(words: readonly string[], env: Readonly<Record<string, string>>): Running;
  /** The server stands still. A process that asks it waits, and no signal ends that. */
  hang(): void;
  goOn(): void;
  /** Each reading fails with EIO until the server is back. */
  fail(): void;
  comeBack(): void;
}

/** Whether a thread of a process waits for such a file system: fuse_dev.c lets it do so in `request_wait_answer`. */
export function waitsForAway(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).some(task => {
    try {
      return readFileSync(join(tasks, task, 'wchan'), 'utf8').includes('request_wait_answer');
    } catch {
      return false; // it has ended
    }
  });
}

/** Each request to the server takes `delay` milliseconds longer. */
export async function folderAway(world: World, delay = 0): Promise<Away> {
  const folder = dirname(world.configFile);
  const [there, here, pidFile, gone] = ['there', 'here', 'server.pid', 'gone'].map(name =>
    join(folder, name),
  ) as [string, string, string, string];
  for (const path of [there, here]) mkdirSync(path);
  const slowly = delay > 0 ? `strace -qq -o /dev/null -e inject=read:delay_enter=${delay * 1000} ` : '';
  const script = join(folder, 'server.sh');
  writeFileSync(
    script,
    `#!/bin/sh\n[ -e ${gone} ] && exit 1\necho $$ >${pidFile}\nexec ${slowly}${SERVER}\n`,
  );
  chmodSync(script, 0o700);
  const options = `ssh_command=${script},reconnect,dir_cache=no,attr_timeout=0,entry_timeout=0`;
  const mount = world.start('server', 'sshfs', ['-f', '-o', options, `away:${there}`, here]);
  const start: Away['start'] = (command, env) =>
    world.start(
      'server',
      'nsenter',
      ['-t', String(mount.pid), '-m', 'env', '-C', process.cwd(), ...command],
      env,
    );
  const signal = (name: NodeJS.Signals) => process.kill(Number(readFileSync(pidFile, 'utf8')), name);
  const away: Away = {
    configFile: join(here, 'knockd-nft.json'),
    write(config, name = 'knockd-nft.json') {
      const text = typeof config === 'string' ? config : JSON.stringify(config);
      writeFileSync(join(there, name), text, { mode: 0o600 });
    },
    folder(name) {
      mkdirSync(join(there, name));
      return join(here, name);
    },
    start,
    startKnockd: (words, env) =>
      start([process.execPath, 'dist/knockd-nft.cjs', '--config', away.configFile, ...words], env),
    hang: () => signal('SIGSTOP'),
    goOn: () => signal('SIGCONT'),
    fail() {
      writeFileSync(gone, '');
      signal('SIGKILL');
    },
    comeBack: () => rmSync(gone),
  };
  // only then is the process where it stays: nsenter and ip take it from one mount namespace to the next
  const mounts = async () => readFileSync(`/proc/${mount.pid}/mounts`, 'utf8');
  await until(mounts, text => text.includes(` ${here} `));
  return away;
}
