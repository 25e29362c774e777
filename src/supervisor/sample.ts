import type { Fed } from '../feeder/apply.ts';
import { countedOf, type Sample } from '../metrics/sample.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { readCounters } from '../table/read.ts';
import { VERSION } from '../version.ts';
import type { Clients } from './clients.ts';
import type { LoadOutcome } from './job.ts';
import type { State } from './state.ts';

/** Measures the kernel's counters, and adds what the supervisor knows. Throws if the kernel does not answer. */
export async function takeSample(
  connection: Connection,
  { inForce, file, table, hold }: State,
  load: LoadOutcome | undefined,
  clients: Clients,
  beside: { readonly tokens: Fed; readonly troubles: number; readonly lost: number },
): Promise<Sample> {
  const counters = inForce ? await countersOf(connection, inForce.table) : new Map();
  const { services, tokens, wrongKnocks } = countedOf(counters, inForce?.services ?? []);
  const counts = clients.countByService();
  const loaded = counters.size > 0;
  return {
    version: VERSION,
    supervisor: true,
    loaded,
    inSync: loaded && file.is === 'done' && table.is === 'done',
    held: hold !== undefined,
    troubles: beside.troubles,
    services: services.map(it => {
      const { openFor = null, singleUse = true } = load?.services.get(it.name) ?? {};
      return { ...it, clients: openFor === null || singleUse ? undefined : (counts.get(it.name) ?? 0) };
    }),
    knocking: undefined,
    wrongKnocks,
    tokens: load?.tokens && {
      ...tokens,
      until: beside.tokens.is === 'fed' ? beside.tokens.until : undefined,
    },
    lostEvents: beside.lost,
  };
}

/** Empty if the table is gone. */
async function countersOf(connection: Connection, table: string): Promise<Map<string, number>> {
  try {
    return new Map((await readCounters(connection, table)).map(({ name, packets }) => [name, packets]));
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return new Map();
    throw error;
  }
}
