/**
 * System calls that fail, once, or that are the last of a process: strace puts an errno in place of the call, or SIGKILL before
 * it. The list of calls comes from a run without faults, so a call that is new in the program is tried without a line here.
 * strace counts the calls of each thread on its own.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { lacking, type Result } from '../kernel/process.ts';
import type { World } from '../kernel/world.ts';

/** A call: its name, and its number among the thread's calls of that name, from 1. */
export interface Call {
  readonly name: string;
  readonly number: number;
  /** Its subject: strace's line, without numbers. Alike are many readings of /proc, or parts of one answer. */
  readonly about: string;
  /** It leaves something behind, outside the process. */
  readonly lasts: boolean;
}

export interface Fault extends Pick<Call, 'name' | 'number'> {
  /** SIGKILL: the process ends before the call is made. */
  readonly errno: string;
}

export const KILL = 'SIGKILL';

/** Errnos that suit a call. Any other call that is not in {@link NEVER} gets {@link ANY}. */
const ERRNOS: Readonly<Record<string, readonly string[]>> = {
  access: ['EIO'],
  bind: ['ENOMEM', 'EPERM'],
  clone3: ['EAGAIN', 'ENOMEM'],
  connect: ['ECONNREFUSED', 'EAGAIN'],
  epoll_create1: ['EMFILE', 'ENOMEM'],
  epoll_ctl: ['ENOMEM', 'ENOSPC'],
  epoll_pwait: ['EINTR'],
  eventfd2: ['EMFILE'],
  execve: ['ENOMEM'],
  fchmod: ['EPERM', 'EIO'],
  fchown: ['EPERM', 'EIO'],
  flock: ['ENOLCK', 'EINTR'],
  fsync: ['EIO', 'ENOSPC'],
  getsockname: ['ENOBUFS'],
  inotify_add_watch: ['ENOSPC', 'ENOMEM'],
  inotify_init1: ['EMFILE'],
  link: ['EIO', 'ENOSPC'],
  mkdir: ['ENOSPC', 'EROFS'],
  openat: ['EMFILE', 'ENFILE', 'EIO', 'ENOMEM', 'EROFS'],
  pipe2: ['EMFILE'],
  readlink: ['ENOMEM', 'EIO'],
  recvmsg: ['ENOMEM', 'EINTR', 'EAGAIN'],
  rename: ['EIO', 'ENOSPC', 'EROFS'],
  sendmsg: ['ENOBUFS', 'ENOMEM', 'EINTR', 'EAGAIN', 'EPERM'],
  setsockopt: ['ENOMEM', 'EPERM'],
  socket: ['EMFILE', 'ENFILE', 'ENOBUFS', 'EPERM'],
  socketpair: ['EMFILE'],
  unlink: ['EIO', 'EROFS'],
  write: ['ENOSPC', 'EIO'],
};
const ANY = ['EIO', 'ENOMEM'] as const;

/**
 * Calls that are not made to fail. The kernel never refuses most of them. V8 ends the process when it gets no memory, which is
 * what {@link KILL} does at the calls that matter. A thread whose futex fails misses a wake-up and hangs.
 */
const NEVER =
  /^(brk|madvise|mmap|mprotect|mremap|munmap|futex|exit|exit_group|rt_sig\w+|sigaltstack|sched_\w+|(get|set)(pid|ppid|tid|uid|gid|euid|egid|resuid|resgid|cpu|timeofday|rlimit|itimer|random|robust_list)|clock_\w+|prlimit64|set_\w+|rseq|arch_prctl|prctl|uname|umask|capget|membarrier|pkey_\w+|restart_syscall|vfork|wait4|clone|nanosleep|tgkill|kill|poll|ppoll|select)$/;

/**
 * Calls that leave something behind, outside the process, if they succeed. The work before them must be whole. A process that
 * ends before a fsync, or before a temporary file gets its owner, leaves the same as one that ends before the next of these.
 */
const LASTING =
  /^(write|pwrite64|writev|rename|link|unlink|mkdir|rmdir|chmod|chown|sendmsg|sendto|ftruncate|symlink)$/;
/** Messages that only ask the kernel. */
const ASKING = /nlmsg_type=(SOCK_DIAG_BY_FAMILY|RTM_GET|\w+<<8\|(NFT|IPCTNL)_MSG_(CT_)?GET)/;

/**
 * Calls that Node.js makes for its standard streams before we run, and to load modules: if one fails, it throws, or
 * aborts. Lines are those of `strace -y`, with paths.
 */
const OF_NODE =
  /anon_inode:\[eventfd\]|node_modules|package\.json|\.so\b|dist\/knockd-nft\.cjs|^(fstat|fsync|getsockname|getsockopt|fcntl|ioctl)\([012]<|^epoll_ctl\(\d+<[^>]*>, \w+, [012]</;

/** Only a file that another machine or process keeps, or whose quota is used up, reports an error when it is closed. */
const CANNOT_FAIL = /^close\(N<(socket:|pipe:|anon_inode:|\/(proc|sys|dev|usr)\/)/;

const ALIKE = 5;

export function faultText({ name, number, errno }: Fault): string {
  return `${errno} at ${name} ${number}`;
}

/** For a test's `skip`: why calls cannot be made to fail here, or false. */
export function cannotInject(): string | false {
  const none = lacking('strace');
  if (none) return none;
  const words = ['-f', '-o', '/dev/null', '-e', 'inject=getpid:error=EPERM', 'true'];
  return spawnSync('strace', words).status !== 0 && 'strace may not trace here';
}

/**
 * The faults of these calls: each call fails with one errno in turn, and the process ends at calls that leave something
 * behind. Of other calls that are alike, at most {@link ALIKE}, spread over the run.
 */
export function faultsOf(calls: readonly Call[]): readonly Fault[] {
  const lasting = calls.filter(({ lasts }) => lasts);
  const alike = new Map<string, Call[]>();
  for (const call of calls.filter(({ lasts }) => !lasts))
    alike.set(call.about, [...(alike.get(call.about) ?? []), call]);
  const others = [...alike.values()].flatMap(list => spread(list, ALIKE));
  return [...lasting, ...others].flatMap(call => {
    const errnos = ERRNOS[call.name] ?? ANY;
    const errno = errnos[call.number % errnos.length] ?? '';
    const failing = NEVER.test(call.name) ? [] : [{ ...call, errno }];
    return call.lasts ? [...failing, { ...call, errno: KILL }] : failing;
  });
}

/** At most `most`, spread over the list: the same at each run. */
export function spread<T>(list: readonly T[], most: number): readonly T[] {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, index) => list[Math.floor((index * list.length) / most)]).filter(
    (it): it is T => it !== undefined,
  );
}

const inject = ({ name, number, errno }: Fault) => {
  const how = errno === KILL ? `error=EINTR:signal=${KILL}` : `error=${errno}`;
  return ['-e', `trace=${name}`, '-e', 'signal=none', '-e', `inject=${name}:${how}:when=${number}`];
};

type Env = Readonly<Record<string, string>>;

const program = (world: World, words: readonly string[]) => [
  ...[process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile],
  ...words,
];

/** Runs our program under strace, and returns what strace wrote, too. It sees the main thread, which makes all our calls. */
async function underStrace(world: World, options: readonly string[], words: readonly string[], env: Env) {
  const log = `${world.configFile}.strace`;
  const command = ['strace', '-qq', ...options, '-o', log, ...program(world, words)];
  // in a group that ends as a whole: Node.js may hang while it aborts, and would outlive its tracer
  const result = await world.run('server', 'timeout', ['--signal=KILL', '45', ...command], { env });
  return { result, lines: readFileSync(log, 'utf8').split('\n') };
}

/** Runs our program with a fault. `met` says whether the call was made at all. */
export async function runFaulty(
  world: World,
  fault: Fault,
  words: readonly string[],
  env: Env,
): Promise<Result & { readonly met: boolean }> {
  const { result, lines } = await underStrace(world, inject(fault), words, env);
  return {
    ...result,
    met: result.status === 137 || lines.some(line => line.includes('INJECTED')),
  };
}

/** Runs our program with a file that cannot be opened, as on a disk that fails; or only not the `number`th time, from 1. */
export function runUnreadable(
  world: World,
  path: string,
  words: readonly string[],
  env: Env,
  number?: number,
): Promise<Result & { readonly met: boolean }> {
  return runFailing(
    world,
    path,
    `openat:error=EIO${number === undefined ? '' : `:when=${number}`}`,
    words,
    env,
  );
}

/** Runs our program with a file that some calls fail at: `close:error=EIO`. */
export async function runFailing(
  world: World,
  path: string,
  how: string,
  words: readonly string[],
  env: Env,
): Promise<Result & { readonly met: boolean }> {
  const options = ['-P', path, '-e', 'signal=none', '-e', `inject=${how}`];
  const { result, lines } = await underStrace(world, options, words, env);
  return { ...result, met: lines.some(line => line.includes('INJECTED')) };
}

/** Runs our program without a fault: how it ends, and the calls that it makes after Node.js has read it. */
export async function trace(
  world: World,
  words: readonly string[],
  env: Env,
): Promise<{ readonly result: Result; readonly calls: readonly Call[] }> {
  const { result, lines } = await underStrace(world, ['-y', '-e', 'signal=none'], words, env);
  const own = lines.findIndex(line => /^close\(\d+<.*dist\/knockd-nft\.cjs>/.test(line));
  return {
    result,
    calls: callsOf(lines).filter(
      ({ line, about }) => line > own && !OF_NODE.test(lines[line] ?? '') && !CANNOT_FAIL.test(about),
    ),
  };
}

/** The calls in strace's lines, with the number of the line. */
function callsOf(lines: readonly string[]): (Call & { readonly line: number })[] {
  const counts = new Map<string, number>();
  return lines.flatMap((text, line) => {
    const [, thread = '', name = ''] = /^(?:\[pid +(\d+)\] +)?([a-z]\w*)\(/.exec(text) ?? [];
    if (name === '') return [];
    const number = (counts.get(`${thread} ${name}`) ?? 0) + 1;
    counts.set(`${thread} ${name}`, number);
    const [, subject = ''] = /^([^<"]*(?:[<"][^>"]*[>"])?)/.exec(text.replace(/AT_FDCWD<[^>]*>/, '')) ?? [];
    const [message = ''] = /nlmsg_type=[\w<|]+/.exec(text) ?? [];
    const about = `${subject} ${message}`.replace(/\.\d+\.[0-9a-f]+\.tmp/, '.tmp').replace(/\d+/g, 'N');
    const lasts = LASTING.test(name) && !ASKING.test(text) && !/ = -1 E/.test(text);
    return [{ name, number, line, about, lasts }];
  });
}

/** strace, attached to a running program. */
export interface Attached {
  /** Whether the call fails within that many milliseconds. */
  readonly met: (within: number) => Promise<boolean>;
  /** Ends the fault. The program goes on. */
  readonly detach: () => Promise<void>;
}

export async function attach(world: World, pid: number, fault: Fault): Promise<Attached> {
  const tracer = world.start('server', 'strace', ['-f', ...inject(fault), '-p', String(pid)]);
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

/** The calls that a running program makes while `act` goes on. */
export async function callsDuring(world: World, pid: number, act: () => Promise<void>): Promise<Call[]> {
  const tracer = world.start('server', 'strace', ['-f', '-y', '-e', 'signal=none', '-p', String(pid)]);
  await tracer.line(/ attached/);
  await act();
  await tracer.stop();
  const calls = callsOf(tracer.lines());
  return [...new Map(calls.map(call => [`${call.name} ${call.number}`, call])).values()];
}
