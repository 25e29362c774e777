import { release } from 'node:os';
import { monotonic } from '../host/clock.ts';
import type { Session } from '../host/sessions.ts';
import { masked } from '../inet/address.ts';
import { FAMILIES } from '../inet/family.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { FEATURES, isOlder } from '../nftables/feature.ts';
import { byName, type Element, type Ruleset, type Table } from '../nftables/ruleset.ts';
import { deleteTable, newTable } from '../nftables/table.ts';
import { ANY_GENERATION, commit } from '../nftables/transaction.ts';
import { connectionKey } from '../ruleset/elements.ts';
import { MARK, names } from '../ruleset/names.ts';
import { decompile, guardedPorts } from '../ruleset/program.ts';
import { clientElements, type KnownClient, withPlace } from './clients.ts';
import { ForeignTableError, HalfDoneError, isFull } from './errors.ts';
import { merged, planFarewell, unknownTo } from './farewell.ts';
import { type Dropped, older } from './fit.ts';
import { plan, recreatedState } from './plan.ts';
import { refuseForgetful } from './probe.ts';
import { type Kernel, readElements, readSets, withState } from './read.ts';
import { nextStage } from './stages.ts';
import { retry, type Writer } from './writer.ts';

/** The result of a load. */
export interface Loaded {
  /** Our table as it was before, without state; undefined if there was none. */
  readonly before: Ruleset | undefined;
  readonly transactions: number;
  /** Messages in all transactions; 0 if the kernel already matched. */
  readonly objects: number;
  /** Bytes of all transactions. */
  readonly bytes: number;
  /** The generation of the ruleset when it matched. */
  readonly generation: number;
  /** How many running connections were put on record, so that the guards let them through. */
  readonly sessions: number;
  /** The elements of state that found no room any more. */
  readonly dropped: readonly Dropped[];
}

/** How many stages to try. Another loader that wants something else may undo each, so after these we load without stages. */
const STEPS = 20;

/** How long a running connection stays on record, in milliseconds. */
const SESSION_TIMEOUT = 24 * 60 * 60 * 1000;

/**
 * Makes the kernel match the ruleset, in one transaction, or in a few if {@link nextStage} says so. If it matches already,
 * nothing changes.
 *
 * `sessions` is asked for the running connections only if ports begin to be guarded. `remembered` clients are let in again
 * if the table has to be made. `read` is the ruleset if the caller has just read it.
 * Throws {@link ForeignTableError}, CannotChangeError on a kernel that is too old, NetlinkError if the kernel refuses, and
 * StaleGenerationError if other programs never pause.
 */
export async function load(
  writer: Writer,
  wanted: Ruleset,
  sessions: () => Promise<readonly Session[]>,
  remembered: readonly KnownClient[] = [],
  read?: Kernel,
): Promise<Loaded> {
  const { connection } = writer;
  let known = read;
  await refuseForgetful(connection, release());
  let spare = 0;
  let atOnce = false;
  const again = (error: unknown, { is }: Awaited<ReturnType<typeof planLoad>>): boolean => {
    if (isFull(error) && spare < SPARE.length - 1) {
      spare++; // packets came first
      return true;
    }
    if (!(error instanceof NetlinkError) || !MENDED_BY_ANOTHER_PLAN[is].test(error.code)) return false;
    atOnce ||= is === 'stage';
    return true;
  };
  const step = async (sizeInPlace: boolean): Promise<Loaded & { readonly done: boolean }> => {
    const { changes, checked, ...planned } = await writer.change(
      kernel =>
        planLoad(connection, kernel, wanted, sessions, {
          remembered,
          sizeInPlace,
          spare: SPARE[spare] ?? 1,
          atOnce,
        }),
      { again, read: known },
    );
    known = undefined;
    const objects = changes.length;
    return { ...planned, transactions: Math.min(objects, 1), objects, done: planned.done && checked };
  };
  const all = async (sizeInPlace: boolean): Promise<Loaded> => {
    let loaded = await step(sizeInPlace);
    for (let left = STEPS; !loaded.done; left--) {
      atOnce ||= left === 0;
      await allPacketsLeft(connection, wanted.table);
      const next = await step(sizeInPlace);
      const { generation, done } = next;
      const sum = (key: 'transactions' | 'objects' | 'bytes') => loaded[key] + next[key];
      loaded = {
        ...loaded,
        transactions: sum('transactions'),
        objects: sum('objects'),
        bytes: sum('bytes'),
        sessions: Math.max(loaded.sessions, next.sessions), // each stage puts them on record
        // a stage repeats what the one before had no room for
        dropped: [...new Map([...loaded.dropped, ...next.dropped].map(it => [it.set, it])).values()],
        generation,
        done,
      };
    }
    return loaded;
  };
  try {
    let loaded = await all(true);
    // an older kernel ignores a set's new size, so we make the sets again
    if (loaded.objects > 0 && isOlder(release(), FEATURES.size.since))
      if (!(await retry(() => haveSizes(connection, wanted))))
        loaded = { ...loaded, generation: (await all(false)).generation };
    writer.generation = loaded.generation;
    return loaded;
  } catch (error) {
    throw writer.transactions > 0 ? new HalfDoneError(error) : error;
  }
}

/** The part of a set that stays free for packets, by how often they came first. At the last one nothing is added to it. */
const SPARE = [0, 1 / 64, 1 / 8, 1] as const;
/**
 * Errnos of a transaction that another plan can avoid, by kind of transaction. A stage keeps another program's changes to the
 * table, but none of our own stages names missing objects or asks for what the kernel does not know. A farewell writes to
 * state that packets change, too.
 */
const MENDED_BY_ANOTHER_PLAN = {
  swap: /^$/,
  stage: /^(EINVAL|ENOENT|EEXIST|EBUSY|EOPNOTSUPP|ELOOP|EMLINK)$/,
  farewell: /^(EEXIST|ENOENT)$/,
} as const;

/**
 * Waits until the kernel is done with each packet under way. The kernel does that itself (by `synchronize_rcu`) before it
 * drops a transaction that it was only asked to check.
 */
async function allPacketsLeft(connection: Connection, table: Table): Promise<void> {
  await commit(connection, [newTable(table)], { generation: ANY_GENERATION, dryRun: true });
}

async function haveSizes(connection: Connection, { table, sets }: Ruleset): Promise<boolean> {
  const sizes = new Map((await readSets(connection, table.name)).map(({ name, size }) => [name, size]));
  return sets.every(({ name, size }) => sizes.get(name) === size);
}

/**
 * The next transaction that {@link load} would commit. `done` says that it is the last one. With `atOnce` it is the only one,
 * and for an instant a port may be open.
 */
export async function planLoad(
  connection: Connection,
  kernel: Kernel,
  wanted: Ruleset,
  sessions: () => Promise<readonly Session[]>,
  options: {
    readonly remembered?: readonly KnownClient[];
    readonly sizeInPlace?: boolean;
    readonly spare?: number;
    readonly atOnce?: boolean;
  } = {},
) {
  const begun = monotonic();
  const { name } = wanted.table;
  if (kernel.tables.some(table => table.name === name && table.comment !== MARK))
    throw new ForeignTableError(name);
  const there = kernel.ours.find(({ table }) => table.name === name);
  const [renamed, ...others] = kernel.ours.filter(({ table }) => table.name !== name);
  const { sizeInPlace = true, spare = 0, atOnce = false } = options;
  const remembered = withPlace(wanted, options.remembered ?? []);
  const dropped: Dropped[] = [];
  const isThere = (stage: Ruleset) => there !== undefined && plan(there, stage, { sizeInPlace }).length === 0;
  if (there && renamed && isThere(wanted)) {
    const planned = await planFarewell(connection, renamed, there, {
      spare,
      onDropped: it => dropped.push(it),
      atOnce,
    });
    const done = planned.done && others.length === 0;
    return { ...planned, is: 'farewell' as const, before: there, dropped, sessions: 0, done };
  }
  const before = renamed ?? there;
  const target = atOnce || !before ? wanted : there ? nextStage(there, wanted, isThere) : unhooked(wanted);
  const recreated = new Set(there && recreatedState(there, target, sizeInPlace));
  const current = there && (await withState(connection, there, set => recreated.has(set)));
  const carried = carriedSessions(before, wanted);
  const elements = carried
    ? sessionElements((await sessions()).filter(carried))
    : new Map<string, Element[]>();
  const networks = before && (await widened(connection, before, wanted));
  const unknown = there && renamed && (await unknownTo(connection, there, renamed)).missing;
  const gone =
    there || remembered.length === 0 ? undefined : renamed && (await withState(connection, renamed));
  // if this process was stopped meanwhile, no client gets more time by it
  const now = monotonic();
  const aged = (list: readonly Element[]) => older(list, now - begun);
  const changes = plan(
    current && {
      ...current,
      sets: current.sets.map(set =>
        recreated.has(set.name) ? { ...set, elements: aged(set.elements) } : set,
      ),
    },
    target,
    {
      // the former table guards until the new one does, so its state as of then counts
      former: there ? undefined : renamed,
      added: merged(elements, new Map([...(unknown ?? [])].map(([name, list]) => [name, aged(list)]))),
      widened: new Map([...(networks ?? [])].map(([name, list]) => [name, aged(list)])),
      remembered: gone ? without(clientElements(remembered, now), gone) : clientElements(remembered, now),
      spare,
      sizeInPlace,
      onDropped: it => dropped.push(it),
    },
  );
  return {
    is: target === wanted ? ('swap' as const) : ('stage' as const),
    before,
    changes,
    dropped,
    sessions: [...elements.values()].reduce((sum, list) => sum + list.length, 0),
    done: target === wanted && renamed === undefined,
  };
}

/** Whether the kernel has this ruleset already. Throws {@link ForeignTableError}. */
export async function isInForce(connection: Connection, kernel: Kernel, wanted: Ruleset): Promise<boolean> {
  return (await planLoad(connection, kernel, wanted, async () => [])).changes.length === 0;
}

/** Ranges appear a little after the rules that look them up. So a table that replaces another one is hooked in later. */
function unhooked(wanted: Ruleset): Ruleset {
  return { ...wanted, chains: wanted.chains.filter(({ hook }) => !hook) };
}

type Elements = ReadonlyMap<string, readonly Element[]>;

/** The remembered clients, without those that the table to be removed knows, since it knows them better. */
function without(remembered: Elements, { sets }: Ruleset): Elements {
  const known = byName(sets);
  return new Map(
    [...remembered].map(([name, elements]) => {
      const keys = new Set(known.get(name)?.elements.map(({ key }) => key.toString('latin1')));
      return [name, elements.filter(({ key }) => !keys.has(key.toString('latin1')))];
    }),
  );
}

/** If a client is now less of an address than before: the networks of those that are in, to be added to their addresses. */
async function widened(
  connection: Connection,
  current: Ruleset,
  wanted: Ruleset,
): Promise<Map<string, Element[]>> {
  const { prefix: before } = decompile(current);
  const { prefix: after, services } = decompile(wanted);
  const sets = new Map<string, Element[]>();
  const there = byName(current.sets);
  for (const family of FAMILIES) {
    if (after[family] >= before[family]) continue;
    for (const service of services.keys()) {
      const set = there.get(names.clients(service, family));
      if (!set) continue;
      const clients = await readElements(connection, current.table.name, set);
      const networks = clients.map(element => ({ ...element, key: masked(element.key, after[family]) }));
      sets.set(set.name, networks);
    }
  }
  return sets;
}

/** Says which running connections this load would cut if they were not put on record; undefined for none. */
function carriedSessions(
  current: Ruleset | undefined,
  wanted: Ruleset,
): ((session: Session) => boolean) | undefined {
  const before = guardedPorts(current && decompile(current));
  const newly = new Set([...guardedPorts(decompile(wanted))].filter(port => !before.has(port)));
  const drops = (ruleset: Ruleset | undefined) =>
    ruleset?.chains.some(({ hook, rules }) => hook?.policy === 'drop' && rules.length > 0) ?? false;
  if (drops(wanted) && !drops(current)) return () => true;
  if (newly.size === 0) return undefined;
  return ({ port }) => newly.has(`${port}/tcp`);
}

/** The connections as elements of the sets `sessions_*`. */
function sessionElements(sessions: readonly Session[]): Map<string, Element[]> {
  return new Map(
    FAMILIES.map(family => {
      const elements = sessions
        .filter(session => session.family === family)
        .map(({ peer, peerPort, port }) => connectionKey(peer, peerPort, port))
        .map(key => [key.toString('latin1'), { key, timeout: SESSION_TIMEOUT }] as const);
      return [names.sessions(family), [...new Map(elements).values()]];
    }),
  );
}

/** Removes our tables and returns their number. */
export async function unload(writer: Writer): Promise<number> {
  const { changes } = await writer.change(async ({ ours }) => ({
    changes: ours.map(({ table }) => deleteTable(table.name)),
  }));
  return changes.length;
}
