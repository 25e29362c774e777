import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { promisify } from 'node:util';
import { isHostsNetwork } from '../host/network.ts';

const execute = promisify(execFile);

/** Who goes back when the time is over: systemd, or a process of ours that nobody's hang-up ends. */
export interface Undoer {
  readonly is: 'systemd' | 'process';
  /** There will be nothing to undo. */
  readonly disarm: () => Promise<void>;
}

const unitOf = (id: string) => `knockd-nft-undo-${id}`;

/**
 * Sees to it that `undo --id` runs after `delay` milliseconds, whatever becomes of this process, its process group, its
 * terminal and its login: a transient timer of systemd where that runs, and where the network is the host's, which is what
 * systemd's services get; elsewhere a process in a session of its own.
 */
export async function armUndo(id: string, delay: number, env: NodeJS.ProcessEnv): Promise<Undoer> {
  const command = [
    process.execPath,
    ...process.execArgv,
    realpathSync(process.argv[1] ?? ''),
    ...['undo', '--id', id],
  ];
  if (existsSync('/run/systemd/system') && isHostsNetwork() && (await armTimer(id, delay, env, command)))
    return { is: 'systemd', disarm: () => disarmUndo(id) };
  const [program = '', ...args] = command;
  const child = spawn(program, [...args, '--after', String(delay)], {
    detached: true,
    stdio: 'ignore',
    cwd: '/',
    env,
  });
  await once(child, 'spawn');
  child.unref();
  return { is: 'process', disarm: async () => void child.kill() };
}

async function armTimer(
  id: string,
  delay: number,
  env: NodeJS.ProcessEnv,
  command: readonly string[],
): Promise<boolean> {
  const folders = ['RUNTIME_DIRECTORY', 'STATE_DIRECTORY'].flatMap(name =>
    env[name] ? [`--setenv=${name}=${env[name]}`] : [],
  );
  const options = [
    ...[
      '--quiet',
      '--no-ask-password',
      '--collect',
      `--unit=${unitOf(id)}`,
      '--description=knockd-nft: undo what is not confirmed',
    ],
    ...[
      `--on-active=${delay}ms`,
      '--timer-property=AccuracySec=100ms',
      '--property=SyslogIdentifier=knockd-nft',
    ],
  ];
  try {
    await execute('systemd-run', [...options, ...folders, '--', ...command]);
    return true;
  } catch {
    return false;
  }
}

/** There is nothing left to undo. A process of ours sees that by itself. */
export async function disarmUndo(id: string): Promise<void> {
  if (!existsSync('/run/systemd/system')) return;
  await execute('systemctl', ['--quiet', 'stop', `${unitOf(id)}.timer`]).catch(() => {});
}
