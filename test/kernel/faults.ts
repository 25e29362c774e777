/**
 * System calls that fail once, for programs of ours that must cope. strace puts the errno in place of the call. It counts the
 * calls of each thread separately, so a thread that begins later may meet the same fault while strace is there.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { lacking, type Result } from './process.ts';
import type { World } from './world.ts';

export interface Fault {
  readonly syscall: string;
  readonly errno: string;
  /** Which call of a thread fails: 1 is the first. */
  readonly when: number;
}

/** Errnos that suit a call. Calls that are missing here are Node.js's own, and are not made to fail. */
export const ERRNOS: Readonly<Record<string, readonly string[]>> = {
  openat: ['EMFILE', 'ENFILE', 'EIO', 'ENOMEM'],
  read: ['EIO', 'EINTR'],
  pread64: ['EIO'],
  write: ['EIO', 'ENOSPC', 'EAGAIN'],
  close: ['EIO'],
  readlink: ['ENOMEM', 'EIO'],
  getdents64: ['ENOMEM'],
  statx: ['ENOMEM', 'EIO'],
  newfstatat: ['ENOMEM'],
  fstat: ['ENOMEM'],
  statfs: ['EIO'],
  access: ['EIO'],
  socket: ['EMFILE', 'ENFILE', 'ENOBUFS', 'EPERM'],
  bind: ['ENOMEM', 'EPERM'],
  getsockname: ['ENOBUFS'],
  setsockopt: ['ENOMEM', 'EPERM'],
  sendmsg: ['ENOMEM', 'ENOBUFS', 'EAGAIN', 'EINTR', 'EPERM'],
  sendto: ['ENOBUFS', 'EAGAIN'],
  recvmsg: ['ENOMEM', 'EAGAIN', 'EINTR'],
  pipe2: ['EMFILE'],
  eventfd2: ['EMFILE'],
  epoll_create1: ['EMFILE', 'ENOMEM'],
  epoll_ctl: ['ENOMEM', 'ENOSPC'],
  epoll_pwait: ['EINTR'],
  inotify_init1: ['EMFILE'],
  inotify_add_watch: ['ENOSPC', 'ENOMEM'],
  clone3: ['EAGAIN', 'ENOMEM'],
  mmap: ['ENOMEM'],
  mkdir: ['ENOSPC'],
  rename: ['EIO', 'ENOSPC'],
  unlink: ['EIO'],
  fsync: ['EIO'],
  fchmod: ['EPERM'],
  fchown: ['EPERM'],
  flock: ['ENOLCK'],
  ioctl: ['ENOMEM'],
};

export function faultText({ syscall, errno, when }: Fault): string {
  return `${syscall} ${when}: ${errno}`;
}

/** For a test's `skip`: why calls cannot be made to fail here, or false. */
export function cannotInject(): string | false {
  const none = lacking('strace');
  if (none) return none;
  const { status } = spawnSync('strace', [
    '-f',
    '-o',
    '/dev/null',
    '-e',
    'inject=getpid:error=EPERM',
    'true',
  ]);
  return status !== 0 && 'strace may not trace here';
}

const inject = ({ syscall, errno, when }: Fault) => [
  ...['-f', '-e', `trace=${syscall}`, '-e', 'signal=none'],
  ...['-e', `inject=${syscall}:error=${errno}:when=${when}`],
];

/** Runs a program of ours under strace, and also returns strace's output. */
async function trace(
  world: World,
  options: readonly string[],
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ readonly result: Result; readonly lines: readonly string[] }> {
  const log = `${world.configFile}.strace`;
  const program = [process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, ...args];
  const result = await world.run('server', 'strace', ['-qq', ...options, '-o', log, ...program], { env });
  return { result, lines: readFileSync(log, 'utf8').split('\n') };
}

/** Runs a program of ours to its end, with a fault. `met` says whether the call was made at all. */
export async function runWith(
  world: World,
  fault: Fault,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Result & { readonly met: boolean }> {
  const { result, lines } = await trace(world, inject(fault), args, env);
  return { ...result, met: lines.some(line => line.includes('INJECTED')) };
}

/** strace, attached to a running program. */
export interface Attached {
  /** Whether the call fails within that many milliseconds. */
  readonly met: (within: number) => Promise<boolean>;
  /** Ends the fault. The program goes on. */
  readonly detach: () => Promise<void>;
}

export async function attach(world: World, pid: number, fault: Fault): Promise<Attached> {
  const tracer = world.start('server', 'strace', [...inject(fault), '-p', String(pid)]);
  await tracer.line(/ attached/);
  return {
    met: within =>
      tracer.line(/INJECTED/, within).then(
        () => true,
        () => false,
      ),
    async detach() {
      const stuck = setTimeout(() => tracer.signal('SIGKILL'), 5000); // it waits for a thread that was ending
      await tracer.stop();
      clearTimeout(stuck);
    },
  };
}

/** How often a running program makes each call, in the thread that makes it most often. */
export async function countCalls(
  world: World,
  pid: number,
  act: () => Promise<void>,
): Promise<Map<string, number>> {
  const tracer = world.start('server', 'strace', ['-f', '-e', 'signal=none', '-p', String(pid)]);
  await tracer.line(/ attached/);
  await act();
  await tracer.stop();
  return mostByThread(tracer.lines());
}

/** The same for a program that ends: how often before Node.js reads our code, and in all. */
export async function countOwnCalls(
  world: World,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Map<string, readonly [before: number, last: number]>> {
  const { lines } = await trace(world, ['-f', '-e', 'signal=none'], args, env);
  const own = lines.findIndex(line => line.includes('dist/knockd-nft.cjs", O_RDONLY'));
  const before = callsOf(lines.slice(0, own));
  return new Map([...callsOf(lines)].map(([call, last]) => [call, [before.get(call) ?? 0, last]]));
}

function callsOf(lines: readonly string[]): Map<string, number> {
  const calls = new Map<string, number>();
  for (const line of lines) {
    const [, call] = /^(?:\[pid +\d+\] +|\d+ +)?([a-z]\w*)\(/.exec(line) ?? [];
    if (call !== undefined) calls.set(call, (calls.get(call) ?? 0) + 1);
  }
  return calls;
}

function mostByThread(lines: readonly string[]): Map<string, number> {
  const byThread = new Map<string, string[]>();
  for (const line of lines) {
    const [, thread = ''] = /^(?:\[pid +)?(\d+)\]? /.exec(line) ?? [];
    byThread.set(thread, [...(byThread.get(thread) ?? []), line]);
  }
  const most = new Map<string, number>();
  for (const thread of byThread.values())
    for (const [call, count] of callsOf(thread)) most.set(call, Math.max(most.get(call) ?? 0, count));
  return most;
}

/** All faults with $KNOCKD_NFT_FAULTS=all. Otherwise one errno for each call, at its first, middle or last time in turn. */
export function chooseFaults(
  calls: ReadonlyMap<string, readonly [before: number, last: number]>,
  all = process.env.KNOCKD_NFT_FAULTS === 'all',
): readonly Fault[] {
  const known = [...calls].filter(([syscall, [before, last]]) => syscall in ERRNOS && last > before);
  return known.flatMap(([syscall, [before, last]], index) => {
    const times = [before + 1, Math.ceil((before + 1 + last) / 2), last];
    const errnos = ERRNOS[syscall] ?? [];
    const faults = [...new Set(times)].flatMap(when => errnos.map(errno => ({ syscall, errno, when })));
    return all ? faults : faults.filter((_, at) => at === (index * 2) % faults.length);
  });
}
