import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { errno, flock } from '../libc/libc.ts';

// sys/file.h
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks an open file, unless another process holds the lock (flock(2)). The kernel releases the lock when the file is closed,
 * and so when its holder ends in any way. Throws if the kernel has no lock to give.
 */
export function tryLock(descriptor: number): boolean {
  if (flock(descriptor, LOCK_EX | LOCK_NB) === 0) return true;
  const error = errno();
  if (error === constants.errno.EINTR) return tryLock(descriptor);
  if (error === constants.errno.EWOULDBLOCK || error === constants.errno.EAGAIN) return false;
  const [code, meaning] = getSystemErrorMap().get(-error) ?? [`errno ${error}`, 'unknown error'];
  throw Object.assign(new Error(`${code}: ${meaning}, flock`), { code, syscall: 'flock' });
}
