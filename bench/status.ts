/** The cost of `status` with as many clients in as fit, beside nft, which lists the same sets, and beside a bare start of node. */
import { createWorld } from '../test/kernel/world.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { measure } from './measure.ts';
import type { Command } from './runner.ts';
import { bareNode, program } from './subjects.ts';

const ROUNDS = 7;
const FULL = 65_535;
/** Elements in one transaction of nft's. */
const PART = 13_107;

const address = {
  ipv4: (index: number) => `10.0.${index >> 8}.${index & 255}`,
  ipv6: (index: number) => `2001:db8::${index.toString(16)}`,
};

export async function benchStatus(t: Parameters<typeof createWorld>[0]): Promise<void> {
  const world = await createWorld(t);
  world.write({ services: { ssh: { ports: [22], sequence: [10000, 2345, 3456] } } });
  await world.knockd(['load']);
  for (const family of ['ipv4', 'ipv6'] as const)
    for (let first = 1; first <= FULL; first += PART) {
      const part = Array.from({ length: PART }, (_, index) => `${address[family](first + index)} timeout 1h`);
      await world.nft(`add element inet knockd ssh_clients_${family} { ${part.join(', ')} }`);
    }
  const ours = [process.execPath, program, '--config', world.configFile, 'status'];
  const commands: Command[] = [
    bareNode.command,
    ours,
    [...ours, '--json'],
    ['nft', 'list', 'table', 'inet', 'knockd'],
  ].map(command => ({ command, cleanup: ['true'] }));
  const measured = await measure(world, 'server', { commands, rounds: ROUNDS });
  const bare = Math.min(...(measured[0]?.times ?? []));
  console.log(
    `Status with ${2 * FULL} clients in: milliseconds, least (median) of ${ROUNDS} interleaved rounds.\n`,
  );
  const names = ['node -e 0', 'knockd-nft status', 'knockd-nft status --json', 'nft list table'];
  printTable(
    ['', 'ms', '(median)', 'to node -e 0', 'process'],
    measured.map(({ times, resident }, index) => {
      const least = Math.min(...times);
      return [
        names[index] ?? '',
        least.toFixed(0),
        `(${quantile(times, 0.5).toFixed(0)})`,
        ratio(least, bare),
        `${(resident / 1024).toFixed(1)} MiB`,
      ];
    }),
  );
  console.log('');
}
