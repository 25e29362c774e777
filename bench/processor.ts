/** CPU time of other processes, all their threads included, from two calls of libc. 64-bit Linux only. */
import koffi from 'koffi';

const library = koffi.load(null);
const getrusage = library.func('int getrusage(int, void *)');
const clockOf = library.func('int clock_getcpuclockid(int, _Out_ int *)');
const clockTime = library.func('int clock_gettime(int, void *)');

const RUSAGE_CHILDREN = -1; // <sys/resource.h>
const RUSAGE_SIZE = 144;

/** Seconds of all processes that this one has started and that have ended. */
export function secondsOfChildren(): number {
  const usage = Buffer.alloc(RUSAGE_SIZE);
  if (getrusage(RUSAGE_CHILDREN, usage) !== 0) throw new Error('getrusage failed');
  const time = (at: number) => Number(usage.readBigInt64LE(at)) + Number(usage.readBigInt64LE(at + 8)) / 1e6;
  return time(0) + time(16); // struct timeval ru_utime, ru_stime
}

/** Seconds of a process that runs, also of its threads that have ended. */
export function secondsOf(pid: number): number {
  const clock = [0];
  if (clockOf(pid, clock) !== 0) throw new Error(`there is no process ${pid}`);
  const time = Buffer.alloc(16);
  if (clockTime(clock[0], time) !== 0) throw new Error(`process ${pid} has no clock`);
  return Number(time.readBigInt64LE(0)) + Number(time.readBigInt64LE(8)) / 1e9;
}
