import { constants } from 'node:os';
import { errno, sendto, socket } from '../libc/libc.ts';

/**
 * sd_notify(3): datagrams to the socket that systemd names in $NOTIFY_SOCKET. Node.js has no Unix datagrams, and
 * the packages that add them compile at installation.
 */
export interface Notify {
  /** Sends `NAME=value` lines, such as `READY=1`. Does nothing without a service manager. */
  readonly send: (...lines: readonly string[]) => void;
  /** Tells a service manager that watches us that we live, often enough for it. To be called now and then, with `monotonic`. */
  readonly live: (now: number) => void;
}

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;

/** When to send again if the service manager does not read, in milliseconds. It must not stop us. */
const AGAIN = 200;
/** The most datagrams that may wait. The oldest go first. */
const MOST = 64;
/** The most bytes of a datagram (systemd's NOTIFY_BUFFER_MAX). systemd ignores all of a longer one, also that we are ready. */
const LONGEST = 4096;

export function openNotify(env: NodeJS.ProcessEnv): Notify {
  const path = env.NOTIFY_SOCKET;
  if (!path || !/^[/@]/.test(path)) return { send: () => {}, live: () => {} };
  // struct sockaddr_un {u16 family; char path[]}; an abstract name starts with NUL instead of @
  const name = Buffer.from(path);
  if (path.startsWith('@')) name[0] = 0;
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), name]);
  let fd = -1;
  const usec = Number(env.WATCHDOG_USEC);
  const ours = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === process.pid;
  let due = usec > 0 && ours ? 0 : Number.POSITIVE_INFINITY;
  const waiting: Buffer[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** True also if the service manager is gone, since no later try would help. */
  const isSent = (data: Buffer): boolean => {
    if (fd < 0) fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
    if (sendto(fd, data, data.length, MSG_NOSIGNAL | MSG_DONTWAIT, address, address.length) >= 0) return true;
    const { ENOENT, ECONNREFUSED } = constants.errno;
    return [ENOENT, ECONNREFUSED].includes(errno());
  };
  const flush = (): void => {
    timer = undefined;
    for (let data = waiting[0]; data; data = waiting[0]) {
      if (!isSent(data)) {
        timer = setTimeout(flush, AGAIN).unref();
        return;
      }
      waiting.shift();
    }
  };
  const send = (...lines: readonly string[]): void => {
    const data = Buffer.alloc(LONGEST);
    const { written } = new TextEncoder().encodeInto(lines.join('\n'), data); // as many whole characters as there is room for
    waiting.push(data.subarray(0, written));
    if (waiting.length > MOST) waiting.shift();
    if (!timer) flush();
  };
  return {
    send,
    live: now => {
      if (now < due) return;
      due = now + usec / 1000 / 4;
      send('WATCHDOG=1');
    },
  };
}
