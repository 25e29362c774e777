/**
 * Each system call of each command fails once, and each that leaves something behind is the last of its process. Words in
 * $KNOCKD_NFT_FAULTS choose a command.
 */
import t from 'tap';
import { missing } from '../kernel/world.ts';
import { commands } from './commands.ts';
import { cannotInject } from './strace.ts';
import { tryFaults } from './try-faults.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();
const { KNOCKD_NFT_FAULTS: chosen } = process.env;

t.jobs = 2;
const names = Object.keys(commands('')).filter(it => chosen === undefined || it === chosen);
for (const [index, name] of names.entries())
  t.test(
    `${name}: if any call fails, all is whole, reported, and repaired by the next run`,
    { skip },
    async t => {
      const tell = (text: string) =>
        process.stderr.write(`${name} (${index + 1} of ${names.length}): ${text}\n`);
      const { faults, met, calls } = await tryFaults(t, name, Number.POSITIVE_INFINITY, tell);
      tell(`${met} of ${faults} faults happened, at ${calls} different calls`);
    },
  );
