import { lookHere } from '../host/interfaces.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { holdsConnections } from '../ruleset/names.ts';
import { emptyStatus, readStatus, type Status } from '../ruleset/status.ts';
import { ForeignTableError } from './errors.ts';
import { planLoad } from './load.ts';
import { readKernel, withState, withStateNow } from './read.ts';

/** What we saw of the kernel, and what need not be read again until the ruleset changes. */
export interface Sight {
  readonly status: Status;
  readonly generation: number;
  readonly loaded: Ruleset | undefined;
  readonly wanted: Ruleset | undefined;
}

/** How often to read again if the ruleset changes meanwhile. After that, a mixture of two states has to do. */
const ATTEMPTS = 3;

/**
 * Looks at our table, and whether it is as `wanted`, the compiled configuration; undefined if the file is of no use. `before`
 * is an earlier sight. At the same generation, only what packets write is read again.
 */
export async function observe(
  connection: Connection,
  wanted: Ruleset | undefined,
  before?: Sight,
): Promise<Sight> {
  for (let left = ATTEMPTS; ; left--) {
    const generation = await readGeneration(connection);
    const same = before?.generation === generation && before.wanted === wanted;
    const sight = same ? await again(connection, before) : await read(connection, wanted);
    if (left <= 1 || (await readGeneration(connection)) === sight.generation) return sight;
  }
}

/** Interfaces that packets come in by. */
async function waysIn(): Promise<readonly string[]> {
  return (await lookHere({ interfaces: [] })).at;
}

async function again(connection: Connection, before: Sight): Promise<Sight> {
  if (!before.loaded) return before;
  const status = readStatus(
    await withStateNow(connection, before.loaded),
    before.status.inSync,
    await waysIn(),
  );
  return { ...before, status };
}

async function read(connection: Connection, wanted: Ruleset | undefined): Promise<Sight> {
  const kernel = await readKernel(connection);
  const { generation } = kernel;
  const loaded = kernel.ours.find(({ table }) => table.name === wanted?.table.name) ?? kernel.ours[0];
  if (!loaded) {
    const status = emptyStatus(wanted?.table.name ?? 'knockd');
    return { status, generation, loaded, wanted };
  }
  const inSync = wanted ? await isAsWanted(wanted) : null;
  const status = readStatus(
    await withState(connection, loaded, name => !holdsConnections(name)),
    inSync,
    await waysIn(),
  );
  return { status, generation, loaded, wanted };

  async function isAsWanted(wanted: Ruleset): Promise<boolean> {
    try {
      return (await planLoad(connection, kernel, wanted, async () => [])).changes.length === 0;
    } catch (error) {
      if (error instanceof ForeignTableError) return false;
      throw error;
    }
  }
}
