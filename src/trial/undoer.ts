import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { promisify } from 'node:util';
import { isHostsNetwork } from '../host/network.ts';
import { TrialError } from '../table/errors.ts';

const execute = promisify(execFile);

/**
 * The undoer of a trial, for when its time is over: systemd, or a process of ours that survives the end of the login.
 */
export interface Undoer {
  readonly is: 'systemd' | 'process';
  /** Call this when there will be nothing to undo. */
  readonly disarm: () => Promise<void>;
}

const unitOf = (id: string) => `knockd-nft-undo-${id}`;

/** Starts a program again until it succeeds. A process of ours may end even because the kernel refuses it something. */
const UNTIL_DONE = 'until "$@"; do sleep 1; done';
/** How long to wait for systemd or the process, in milliseconds. The machine may be busy, or systemd stuck. */
const PATIENCE = 30_000;

/**
 * Makes sure that `undo --id` looks after a trial and undoes it after `delay` milliseconds, whatever happens to this process,
 * its process group, its terminal and its login. If systemd runs and this is the host's network, where systemd's services run,
 * that is a service, with a timer that starts it again when the time is over. Otherwise it is a process in a session of
 * its own. If it cannot read the trial's notes, it goes back to `config`.
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
    await once(child.stdout, 'data', { signal: AbortSignal.timeout(PATIENCE) }); // it says that it is ready
  } catch {
    endGroup(child.pid);
    throw new TrialError('the process that undoes the trial cannot be started, so nothing is tried');
  }
  child.stdout.destroy();
  child.unref();
  return { is: 'process', disarm: async () => endGroup(child.pid) };
}

/** Ends the shell and the program that it runs. */
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
    '--description=knockd-nft: undo an unconfirmed trial',
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

/** Stops the timer, since there is nothing left to undo. The service that looks after the trial notices by itself. */
export async function disarmUndo(id: string): Promise<void> {
  if (!existsSync('/run/systemd/system')) return;
  const stop = ['--quiet', 'stop', `${unitOf(id)}.timer`];
  await execute('systemctl', stop, { timeout: PATIENCE }).catch(() => {});
}
