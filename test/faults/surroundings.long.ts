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
const names = Object.keys(commands(''));
for (const [index, name] of names.entries())
  t.test(`${name}: full, read-only and slow folders, and few descriptors`, { skip }, t => {
    process.stderr.write(`surroundings of ${name} (${index + 1} of ${names.length})\n`);
    return trySurroundings(t, name, SURROUNDINGS);
  });

const CHANGING = [
  ...['load of a changed file', 'load of another table', 'unload', 'revoke'],
  ...['user rotate', 'user remove', 'init --force', 'try', 'confirm', 'undo'],
];
for (const name of CHANGING)
  t.test(
    `${name}: whenever the kernel ends a command that has too little memory, the next one repairs`,
    { skip: skip || cannotLimit() },
    async t => {
      const limited = withMemory(t);
      // from before the first system call of ours to after the last
      const sizes = Array.from({ length: 24 }, (_, index) => 16 + index / 2).map(
        size => [`${size} MB`, after(limited(size * 1024 * 1024))] as const,
      );
      await trySurroundings(t, name, Object.fromEntries(sizes));
    },
  );
