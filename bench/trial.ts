/** The cost of looking for a knock during a trial. */
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createWorld } from '../test/kernel/world.ts';
import { printTable } from './figures.ts';
import { configuration } from './subjects.ts';
import { work } from './work.ts';

const COUNTS = [1, 100, 1000] as const;
const SECONDS = 20;

/**
 * CPU time of the command, and of the process that outlives it, for this number of new services, while nobody knocks.
 */
export async function benchTrial(t: Parameters<typeof createWorld>[0]): Promise<void> {
  const rows: (readonly string[])[] = [];
  for (const count of COUNTS) {
    const world = await createWorld(t);
    world.write({ services: {} });
    await world.knockd(['load']);
    const candidate = `${world.configFile}.new`;
    writeFileSync(candidate, JSON.stringify(configuration(count)), { mode: 0o600 });
    const command = world.startKnockd(['try', candidate, '--for', '10m']);
    await command.line(/is undone at/);
    const loads = work(command.pid).seconds;
    const { stdout } = await world.run('server', 'head', ['-c', '12', '/run/knockd-nft/trial']);
    const pids = (await world.run('server', 'pgrep', ['--full', `undo --id ${stdout}`])).stdout.trim();
    const undoer = Number(pids.split('\n').at(-1)); // after its shell
    const took = async (pid: number): Promise<number> => {
      const start = work(pid).seconds;
      await delay(SECONDS * 1000);
      return work(pid).seconds - start;
    };
    const [own, waiting] = await Promise.all([took(command.pid), took(undoer)]);
    await command.stop('SIGKILL');
    const alone = await took(undoer);
    await world.knockd(['undo']);
    rows.push([`${count}`, ...[loads, own + waiting, alone].map(seconds => seconds.toFixed(2))]);
  }
  console.log(`Trial: seconds of CPU. Until the candidate is in force; then for ${SECONDS} s in which nobody knocks, while the command looks (with
the process that would outlive it), and after it was killed.\n`);
  printTable(['services', 'until in force', `${SECONDS} s`, 'the command killed'], rows);
  console.log('');
}
