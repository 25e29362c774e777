import koffi from 'koffi';

// sys/file.h
const LOCK_EX = 2;
const LOCK_NB = 4;

const flock = koffi.load(null).func('int flock(int fd, int operation)');

/**
 * Locks an open file, unless another process holds the lock (flock(2)). The kernel releases the lock when the file is closed,
 * and so when its holder ends in any way.
 */
export function tryLock(descriptor: number): boolean {
  return flock(descriptor, LOCK_EX | LOCK_NB) === 0;
}
