/** Each system call of the supervisor fails once while it follows its file and puts the table back. */
import t from 'tap';
import { missing } from '../kernel/world.ts';
import { cannotInject } from './strace.ts';
import { tryRunning } from './supervisor.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();

t.test('if any call of the supervisor fails, the kernel is as the file says soon after', { skip }, t =>
  tryRunning(t, Number.POSITIVE_INFINITY),
);
