import { getSystemErrorMap } from 'node:util';
import koffi from 'koffi';

// sys/file.h
const LOCK_EX = 2;
const LOCK_NB = 4;

const flock = koffi.load(null).func('int flock(int fd, int operation)');

/**
 * Locks an open file, unless another process holds the lock (flock(2)). The kernel releases the lock when the file is closed,
 * and so when its holder ends in any way. Throws if the kernel has no lock to give.
 */
export function tryLock(descriptor: number): boolean {
  if (flock(descriptor, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = koffi.errno();
  if (errno === koffi.os.errno.EINTR) return tryLock(descriptor);
  if (errno === koffi.os.errno.EWOULDBLOCK || errno === koffi.os.errno.EAGAIN) return false;
  const [code, meaning] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, 'unknown error'];
  throw Object.assign(new Error(`${code}: ${meaning}, flock`), { code, syscall: 'flock' });
}
