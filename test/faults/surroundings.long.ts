/** Each command where folders are full, read-only or slow, and where descriptors are few. */
import t from 'tap';
import { missing } from '../kernel/world.ts';
import { cannotLimit, withMemory } from './cgroup.ts';
import { commands } from './commands.ts';
import { cannotInject } from './strace.ts';
import { after, SURROUNDINGS } from './surroundings.ts';
import { trySurroundings } from './try-faults.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();

t.jobs = 2;
for (const name of Object.keys(commands('')))
  t.test(`${name}: full, read-only and slow folders, and few descriptors`, { skip }, t =>
    trySurroundings(t, name, SURROUNDINGS),
  );

t.test(
  'whenever the kernel ends a command that has too little memory, the next one repairs',
  { skip: skip || cannotLimit() },
  async t => {
    const limited = withMemory(t);
    const sizes = [12, 16, 20, 24, 28, 32, 36, 40, 48].map(
      size => [`${size} MB`, after(limited(size * 1024 * 1024))] as const,
    );
    for (const name of ['load of a changed file', 'load of another table', 'user remove', 'confirm', 'undo'])
      await trySurroundings(t, name, Object.fromEntries(sizes));
  },
);
