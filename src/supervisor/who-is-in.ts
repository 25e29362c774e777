import { monotonic } from '../host/clock.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { holdsClients } from '../ruleset/names.ts';
import { decompile, remember } from '../ruleset/program.ts';
import { type KnownClient, knownClients } from '../table/clients.ts';
import { handleOf, readSets, withState } from '../table/read.ts';
import type { Known } from './clients.ts';

/**
 * The clients that are in after a load, and the kernel's handle of the table that they are in. Another program may remove or replace
 * that table at any moment, also while we read. The next load still needs its clients, and knows by the handle whether it lacks them.
 * So the handle is never that of a later table than the one that was read. `known` are those of the load before, `stillIn` those of
 * them that were not revoked, and `generation` is that of the ruleset as this load left it.
 */
export async function whoIsIn(
  connection: Connection,
  wanted: Ruleset,
  known: Known,
  generation: number,
  stillIn: () => readonly KnownClient[],
): Promise<{ readonly clients: readonly KnownClient[]; readonly handle: string | undefined }> {
  const { name } = wanted.table;
  const before = await handleOf(connection, name);
  const read = await readClients(connection, wanted, monotonic());
  if (known.table === undefined) return { clients: read, handle: before };
  const handle = await handleOf(connection, name);
  const isTheirs = handle === known.table || (await readGeneration(connection)) === generation;
  return isTheirs ? { clients: read, handle } : { clients: stillIn(), handle: known.table };
}

/** The clients that are in at the time `now`. The kernel may know which sets are empty. Of thousands, most are. */
async function readClients(connection: Connection, wanted: Ruleset, now: number): Promise<KnownClient[]> {
  const { table, sets } = wanted;
  const there = new Map((await readSets(connection, table.name)).map(({ name, count }) => [name, count]));
  const counted = sets.map(set => {
    const count = there.get(set.name);
    return count === undefined ? set : { ...set, count };
  });
  const current = await withState(connection, { ...wanted, sets: counted }, holdsClients);
  remember(current, () => decompile(wanted));
  return knownClients(current, now);
}
