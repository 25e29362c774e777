import { monotonic } from '../host/clock.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { addElements, deleteElements } from '../nftables/element.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { holdsClients, names } from '../ruleset/names.ts';
import {
  clientElements,
  clientId,
  type KnownClient,
  knownClients,
  openedAt,
  SLACK,
  withPlace,
} from './clients.ts';
import { isFull } from './errors.ts';
import { type Dropped, fit } from './fit.ts';
import { type Kernel, withState } from './read.ts';
import type { Writer } from './writer.ts';

/** How many clients one transaction lets in. More would be no quicker, and others could not write for longer. */
const PART = 8192;

/** Leaves out the clients that were revoked by now. */
export type StillIn = (clients: readonly KnownClient[]) => readonly KnownClient[];

/**
 * Lets clients in again whose table had to be made again, those with the most time left first. A client that has knocked since then
 * keeps the time that it got, and one that is revoked meanwhile stays out. Returns what found no room. If the table is removed
 * once more, nothing is left to do.
 */
export async function putBack(
  writer: Writer,
  table: string,
  clients: readonly KnownClient[],
  stillIn: StillIn,
): Promise<readonly Dropped[]> {
  const dropped = new Map<string, number>();
  let there: There | undefined;
  let timesFull = 0;
  const again = (error: unknown): boolean => {
    if (isFull(error)) timesFull++; // packets came first
    return isFull(error) || hasCome(error);
  };
  const letIn = async (part: readonly KnownClient[]): Promise<void> => {
    const { sets, generation, checked } = await writer.change(
      async kernel => {
        if (kernel !== there?.kernel) there = await readThere(writer.connection, kernel, table);
        return there ? plan(there, stillIn(part), timesFull / 64) : NOTHING;
      },
      { again, read: there?.kernel },
    );
    for (const { set, added, left } of sets) {
      for (const { key } of added) there?.keys.get(set)?.add(key.toString('latin1'));
      if (left > 0) dropped.set(set, (dropped.get(set) ?? 0) + left);
    }
    there = there && checked ? { ...there, kernel: { ...there.kernel, generation } } : undefined;
  };
  const left = ({ until }: KnownClient) => until ?? Number.POSITIVE_INFINITY;
  const longest = clients.toSorted((a, b) => (left(a) === left(b) ? 0 : left(b) - left(a)));
  for (let first = 0; first < longest.length; first += PART) await letIn(longest.slice(first, first + PART));
  await takeOut(writer, table, clients, stillIn);
  return [...dropped].map(([set, count]) => ({ set, count }));
}

/** Packets may add an element at any time, and our table may go. */
function hasCome(error: unknown): boolean {
  return error instanceof NetlinkError && (error.code === 'EEXIST' || error.code === 'ENOENT');
}

/** Our table, and the keys in its sets of clients and users. */
interface There {
  readonly kernel: Kernel;
  readonly ruleset: Ruleset;
  readonly keys: ReadonlyMap<string, Set<string>>;
}

async function readThere(connection: Connection, kernel: Kernel, name: string): Promise<There | undefined> {
  const ours = kernel.ours.find(({ table }) => table.name === name);
  if (!ours) return undefined;
  const ruleset = await withState(connection, ours, holdsClients);
  const keys = new Map(
    ruleset.sets.map(({ name, elements }) => [
      name,
      new Set(elements.map(({ key }) => key.toString('latin1'))),
    ]),
  );
  return { kernel, ruleset, keys };
}

const NOTHING: ReturnType<typeof plan> = { sets: [], changes: [] };

/** The part of each set's size that stays free is `spare`. */
function plan({ ruleset, keys }: There, clients: readonly KnownClient[], spare: number) {
  const isOut = ({ service, family, key }: KnownClient) =>
    !keys.get(names.clients(service, family))?.has(Buffer.from(key).toString('latin1'));
  const wanted = clientElements(withPlace(ruleset, clients.filter(isOut)), monotonic());
  const { name: table } = ruleset.table;
  const sets = ruleset.sets.flatMap(set => {
    const has = keys.get(set.name);
    const missing = (wanted.get(set.name) ?? []).filter(({ key }) => !has?.has(key.toString('latin1')));
    if (missing.length === 0) return [];
    const room = (set.size ?? Number.POSITIVE_INFINITY) * (1 - spare) - (has?.size ?? 0);
    const { elements: added, dropped: left } = fit([missing], room);
    return [{ set: set.name, added, left, changes: addElements(table, set, added) }];
  });
  return { sets, changes: sets.flatMap(({ changes }) => changes) };
}

/** A client that was revoked after its part was planned is in, though the revocation may not have seen it. */
async function takeOut(
  writer: Writer,
  name: string,
  clients: readonly KnownClient[],
  stillIn: StillIn,
): Promise<void> {
  const kept = new Set(stillIn(clients));
  if (kept.size === clients.length) return;
  const revoked = new Map(
    clients.flatMap(client => (kept.has(client) ? [] : [[clientId(client), client] as const])),
  );
  const since = (client: KnownClient) => {
    const known = revoked.get(clientId(client));
    return known && openedAt(client) < openedAt(known) + SLACK;
  };
  await writer.change(
    async kernel => {
      const there = await readThere(writer.connection, kernel, name);
      if (!there) return { changes: [] };
      const now = monotonic();
      const out = clientElements(knownClients(there.ruleset, now).filter(since), now);
      return {
        changes: there.ruleset.sets.flatMap(set => deleteElements(name, set, out.get(set.name) ?? [])),
      };
    },
    { again: hasCome },
  );
}
