import type { Config } from '../config/types.ts';
import { lookHere } from '../host/interfaces.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { compile } from '../ruleset/compile.ts';
import { holdsConnections } from '../ruleset/names.ts';
import { emptyStatus, readStatus, type Status } from '../ruleset/status.ts';
import { ForeignTableError } from './errors.ts';
import { isInForce } from './load.ts';
import { readKernel, withState, withStateNow } from './read.ts';

/** A sight of the kernel, with the parts that need not be read again until the ruleset changes. */
export interface Sight {
  readonly status: Status;
  readonly generation: number;
  readonly loaded: Ruleset | undefined;
  /** The configuration that the table was compared with, and its table. */
  readonly config: Config | undefined;
  readonly wanted: Ruleset | undefined;
}

/** How often to read again if the ruleset changes meanwhile. After that, a mixture of two states has to do. */
const ATTEMPTS = 3;

/**
 * Looks at our table, and whether it is as `config` says; undefined if the file is of no use. `before` is an earlier sight.
 * At the same generation, only what packets write is read again.
 */
export async function observe(
  connection: Connection,
  config: Config | undefined,
  before?: Sight,
): Promise<Sight> {
  const known = before && before.config === config ? before : undefined;
  const wanted = known ? known.wanted : config && compile(config);
  for (let left = ATTEMPTS; ; left--) {
    const generation = await readGeneration(connection);
    const sight =
      known?.generation === generation
        ? await again(connection, known)
        : { ...(await read(connection, wanted)), config, wanted };
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

async function read(connection: Connection, wanted: Ruleset | undefined) {
  const kernel = await readKernel(connection);
  const { generation } = kernel;
  const loaded = kernel.ours.find(({ table }) => table.name === wanted?.table.name) ?? kernel.ours[0];
  if (!loaded) {
    const status = emptyStatus(wanted?.table.name ?? 'knockd');
    return { status, generation, loaded };
  }
  const inSync = wanted ? await isAsWanted(wanted) : null;
  const status = readStatus(
    await withState(connection, loaded, name => !holdsConnections(name)),
    inSync,
    await waysIn(),
  );
  return { status, generation, loaded };

  async function isAsWanted(wanted: Ruleset): Promise<boolean> {
    try {
      return await isInForce(connection, kernel, wanted);
    } catch (error) {
      if (error instanceof ForeignTableError) return false;
      throw error;
    }
  }
}
