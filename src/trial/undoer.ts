import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { promisify } from 'node:util';
import { isHostsNetwork } from '../host/network.ts';
import { TrialError } from '../table/errors.ts';

const execute = promisify(execFile);

/** Who goes back when the time is over: systemd, or a process of ours that nobody's hang-up ends. */
export interface Undoer {
  readonly is: 'systemd' | 'process';
  /** There will be nothing to undo. */
  readonly disarm: () => Promise<void>;
}

const unitOf = (id: string) => `knockd-nft-undo-${id}`;

/** Starts a program again until it ends well; of a process of ours even the kernel's refusals may be the end. */
const UNTIL_DONE = 'until "$@"; do sleep 1; done';
/** In milliseconds: the machine may be busy, or systemd stuck. */
const PATIENCE = 30_000;

/**
 * Sees to it that `undo --id` looks after a trial, and goes back after `delay` milliseconds, whatever becomes of this process,
 * its process group, its terminal and its login: a service of systemd where that runs, and where the network is the host's, which
 * is what systemd's services get, with a timer that starts it again when the time is over; elsewhere a process in a session of
 * its own. `config` is what it goes back to where it cannot read the trial's notes.
 */
export async function armUndo(
  { id, delay, config }: { readonly id: string; readonly delay: number; readonly config: string },
  env: NodeJS.ProcessEnv,
): Promise<Undoer> {
  const command = [
    process.execPath,
    ...process.execArgv,
    realpathSync(process.argv[1] ?? ''),
    ...['--config', config, 'undo', '--id', id, '--after', String(delay)],
  ];
  if (existsSync('/run/systemd/system') && isHostsNetwork() && (await armTimer(id, delay, env, command)))
    return { is: 'systemd', disarm: () => disarmUndo(id) };
  const child = spawn('/bin/sh', ['-c', UNTIL_DONE, 'sh', ...command], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    cwd: '/',
    env,
  });
  try {
    await once(child, 'spawn');
    await once(child.stdout, 'data', { signal: AbortSignal.timeout(PATIENCE) }); // it says that it stands ready
  } catch {
    endGroup(child.pid);
    throw new TrialError('what would go back cannot be started, so nothing is tried');
  }
  child.stdout.destroy();
  child.unref();
  return { is: 'process', disarm: async () => endGroup(child.pid) };
}

/** The shell, and what it runs. */
function endGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader);
  } catch {} // it has ended
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
    ...['--quiet', '--no-ask-password', '--collect', `--unit=${unitOf(id)}`],
    '--description=knockd-nft: undo what is not confirmed',
    ...[`--on-active=${delay}ms`, '--timer-property=AccuracySec=100ms'],
    ...['Restart=on-failure', 'RestartSec=1s', 'StartLimitIntervalSec=0', 'SyslogIdentifier=knockd-nft'].map(
      property => `--property=${property}`,
    ),
  ];
  try {
    await execute('systemd-run', [...options, ...folders, '--', ...command], { timeout: PATIENCE });
    await execute('systemctl', ['start', '--no-block', `${unitOf(id)}.service`], { timeout: PATIENCE });
    return true;
  } catch {
    await disarmUndo(id);
    return false;
  }
}

/** There is nothing left to undo: the timer goes. What looks after the trial sees that by itself. */
export async function disarmUndo(id: string): Promise<void> {
  if (!existsSync('/run/systemd/system')) return;
  const stop = ['--quiet', 'stop', `${unitOf(id)}.timer`];
  await execute('systemctl', stop, { timeout: PATIENCE }).catch(() => {});
}
