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
for (const name of Object.keys(commands('')).filter(it => chosen === undefined || it === chosen))
  t.test(
    `${name}: whatever call fails, all is whole, told, and repaired by the next run`,
    { skip },
    async t => {
      const { faults, met, calls } = await tryFaults(t, name);
      process.stderr.write(`${name}: ${met} of ${faults} faults happened, at ${calls} different calls\n`);
    },
  );
