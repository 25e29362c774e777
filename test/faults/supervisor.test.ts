/** A few system calls of the supervisor fail once. `npm run test:faults` tries all. */
import t from 'tap';
import { missing } from '../kernel/world.ts';
import { cannotInject } from './strace.ts';
import { tryRunning, tryStarting } from './supervisor.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();
const FEW = 24;

t.test('whatever call of the supervisor fails, the kernel is as the file says soon after', { skip }, t =>
  tryRunning(t, FEW),
);

t.test('whatever call fails while the supervisor starts, it guards soon after', { skip }, tryStarting);
