/** Makes system calls of a program fail, one in each run, by strace's injection. */
import { readFileSync } from 'node:fs';
import type { Result } from './process.ts';
import type { World } from './world.ts';

/** A call of the program's main thread: its name, and its number among the calls of that name. */
export interface Call {
  readonly name: string;
  readonly number: number;
}

/** Errors that a call may return. Not futex: a thread that misses a wake-up hangs, and the kernel never fails to wake. */
const ERRORS: Readonly<Record<string, string>> = {
  access: 'EIO',
  bind: 'ENOMEM',
  brk: 'ENOMEM',
  clone3: 'EAGAIN',
  close: 'EIO',
  epoll_create1: 'EMFILE',
  epoll_ctl: 'ENOMEM',
  epoll_pwait: 'EINTR',
  eventfd2: 'EMFILE',
  execve: 'ENOMEM',
  fchmod: 'EPERM',
  fcntl: 'EAGAIN',
  flock: 'ENOLCK',
  fstat: 'EIO',
  fsync: 'EIO',
  getdents64: 'EIO',
  getsockname: 'ENOBUFS',
  ioctl: 'EIO',
  link: 'EIO',
  lseek: 'EIO',
  madvise: 'ENOMEM',
  mkdir: 'ENOSPC',
  mmap: 'ENOMEM',
  mprotect: 'ENOMEM',
  munmap: 'ENOMEM',
  newfstatat: 'EIO',
  openat: 'ENFILE',
  pipe2: 'EMFILE',
  pread64: 'EIO',
  read: 'EIO',
  readlink: 'EIO',
  recvfrom: 'ENOMEM',
  recvmsg: 'ENOMEM',
  rename: 'EIO',
  sendmsg: 'ENOBUFS',
  sendto: 'ENOBUFS',
  setsockopt: 'ENOBUFS',
  socket: 'EMFILE',
  statx: 'EIO',
  unlink: 'EIO',
  write: 'ENOSPC',
};

/** The calls from the first that matches `from` to the first that matches `to`, in a run without faults. */
export async function callsOf(
  world: World,
  { from, to }: { readonly from: RegExp; readonly to: RegExp },
  command: readonly string[],
): Promise<Call[]> {
  const log = `${world.configFile}.strace`;
  const { status, stderr } = await world.run('server', 'strace', ['-f', '-o', log, ...command]);
  if (status !== 0) throw new Error(`without a fault it ended with ${status}: ${stderr}`);
  const lines = readFileSync(log, 'utf8').split('\n');
  const [main = ''] = lines[0]?.split(' ') ?? [];
  const counts = new Map<string, number>();
  const calls: Call[] = [];
  for (const line of lines) {
    const [, thread, name = ''] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
    if (thread !== main) continue;
    const number = (counts.get(name) ?? 0) + 1;
    counts.set(name, number);
    if ((calls.length > 0 || from.test(line)) && name in ERRORS) calls.push({ name, number });
    if (to.test(line)) return calls;
  }
  throw new Error(`no call was like ${to}`);
}

/** At most `most` calls of each name: the first, the last, and some between. */
export function some(calls: readonly Call[], most: number): Call[] {
  const byName = new Map<string, Call[]>();
  for (const call of calls) byName.set(call.name, [...(byName.get(call.name) ?? []), call]);
  return [...byName.values()].flatMap(list => {
    const step = Math.max(1, (list.length - 1) / Math.max(1, most - 1));
    const picked = Array.from(
      { length: Math.min(most, list.length) },
      (_, index) => list[Math.round(index * step)],
    );
    return picked.filter(call => call !== undefined);
  });
}

export function errorOf({ name }: Call): string {
  return ERRORS[name] ?? '';
}

/** Runs the command with one failing call. In other threads the call of that number fails, too. */
export function runFailing(
  world: World,
  call: Call,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Result> {
  const inject = `inject=${call.name}:error=${errorOf(call)}:when=${call.number}`;
  const options = ['-f', '-o', '/dev/null', '-e', `trace=${call.name}`, '-e', inject];
  // in a group of its own, which ends as a whole: a program that hangs must not outlive its tracer
  return world.run('server', 'timeout', ['--signal=KILL', '45', 'strace', ...options, ...command], { env });
}
