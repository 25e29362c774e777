/** A few system calls of each command fail once. `npm run test:faults` tries all. */
import t from 'tap';
import { missing } from '../kernel/world.ts';
import { commands } from './commands.ts';
import { cannotInject } from './strace.ts';
import { tryFaults } from './try-faults.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();
/** Of each command. */
const FEW = 2;

t.jobs = 2;
for (const [name] of Object.entries(commands('')).filter(([, { looks }]) => !looks))
  t.test(`${name}: if any call fails, all is whole, reported, and repaired by the next run`, { skip }, t =>
    tryFaults(t, name, FEW),
  );
