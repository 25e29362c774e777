import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { UnreadableError } from '../config/problems.ts';
import { readFile, understandFile } from '../config/read.ts';
import { SILENT, wayTo } from './mounts.ts';

/** How long a command waits for a file, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Reads a configuration as {@link readConfig} does, for commands. `place` is the path that a candidate is for. Also throws
 * {@link UnreadableError} if the file, or one of its secrets, is on a file system that hangs.
 */
export async function readAnswering(path: string, env: NodeJS.ProcessEnv, place = path) {
  await refuseSilent(path);
  const file = readFile(path, place);
  for (const secret of file.secretFiles) await refuseSilent(secret);
  return understandFile(file, env);
}

/** No signal ends a process that asks a file system that hangs. So another process asks it. */
export async function refuseSilent(path: string): Promise<void> {
  if (process.platform !== 'linux' || !wayTo(path).isAway) return; // elsewhere it is a laptop's file
  const { spawn } = await import('node:child_process'); // which takes its time to load, and is seldom needed
  const program = 'require("node:fs").statSync(process.argv[1])';
  const child = spawn(process.execPath, [...process.execArgv, '-e', program, path], { stdio: 'ignore' });
  const over = once(child, 'exit').then(
    () => true,
    () => true, // no process can be started, so the file is read unasked
  );
  const isOver = await Promise.race([over, delay(PATIENCE, false, { ref: false })]);
  if (isOver) return;
  child.kill('SIGKILL');
  child.unref();
  throw new UnreadableError(path, SILENT, { missing: false, permission: false });
}
