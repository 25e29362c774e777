/** `dist/knockd-nft.cjs`. */
import { COMMANDS } from './cli/commands.ts';
import { runProgram } from './cli/program.ts';
import { THREAD } from './supervisor/thread.ts';

async function start(): Promise<void> {
  // the supervisor's large loads are threads of this file; all other starts save the 2 ms of this check
  if (process.argv[2] === THREAD && !(await import('node:worker_threads')).isMainThread)
    return (await import('./supervisor/job.ts')).serveJob();
  return runProgram(
    'Port knocking that the Linux kernel does itself, with nftables and no daemon.',
    COMMANDS,
  );
}

void start();
