import type { Config } from '../config/types.ts';
import type { Access } from '../host/access.ts';
import { compile } from '../ruleset/compile.ts';
import type { Dropped } from '../table/fit.ts';
import { type Loaded, load } from '../table/load.ts';
import { putBack, type StillIn } from '../table/put-back.ts';
import { hasOurs } from '../table/read.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { Writer } from '../table/writer.ts';
import { allKnown, countOf, type Known, latestOf } from './clients.ts';
import { writeUnfinished } from './unfinished.ts';

/** How many clients come back together with the guards. More would take so long that the ports stay open meanwhile. */
const FEW = 1000;
/** How often to begin again if the table is removed again. */
const ATTEMPTS = 10;

/** Whether there are more clients than a load lets in at once. */
export function isCrowd({ packed, recent }: Known): boolean {
  return countOf(packed) + recent.length > FEW;
}

/**
 * If there is no table of ours, makes it with a few of a crowd's clients, and without tokens, so that the ports are guarded as soon
 * as by a small load. {@link letCrowdIn} lets in the others. Undefined if our table is there.
 */
export async function guardFirst(
  { connection, sessions }: Access,
  config: Config,
  known: Known,
  mayCommit: () => void,
): Promise<Loaded | undefined> {
  if (await hasOurs(connection)) return undefined;
  writeUnfinished(process.env, known);
  const few = withoutRevoked(process.env, latestOf(known, FEW), known.seen);
  return load(new Writer(connection, { mayCommit }), compile(config), sessions, few);
}

/**
 * Lets a crowd in again if its table is gone, or is `made` already. Returns what was done; undefined if nothing was.
 */
export async function letCrowdIn(
  access: Access,
  config: Config,
  known: Known,
  made: Loaded | undefined,
  mayCommit: () => void,
): Promise<Loaded | undefined> {
  const writer = new Writer(access.connection, { mayCommit });
  let guarded = made;
  let dropped: readonly Dropped[] = [];
  for (let left = ATTEMPTS; left > 0; left--) {
    const anew = isCrowd(known) ? await guardFirst(access, config, known, mayCommit) : undefined;
    guarded = anew ?? guarded;
    if (!anew && !(left === ATTEMPTS && made)) break;
    dropped = await putBack(writer, config.table, allKnown(known), stillInOf(known));
  }
  return guarded && { ...guarded, dropped: [...guarded.dropped, ...dropped] };
}

const stillInOf =
  ({ seen }: Known): StillIn =>
  clients =>
    withoutRevoked(process.env, clients, seen);

/**
 * After a load: lets clients in again whose table is another one now, which this load found there. So another program, or a load by
 * hand, has put it in the place of theirs, or a load that made it did not come to its end.
 */
export async function letIntoAnother(
  { connection }: Access,
  known: Known,
  loaded: Loaded,
  table: string,
  mayCommit: () => void,
): Promise<Loaded & { readonly replaced: boolean }> {
  const { before, generation, dropped } = loaded;
  if (before === undefined || before.table.handle?.toString() === known.table)
    return { ...loaded, replaced: false };
  if (isCrowd(known)) writeUnfinished(process.env, known);
  const writer = new Writer(connection, { generation, mayCommit });
  const more = await putBack(writer, table, allKnown(known), stillInOf(known));
  return {
    ...loaded,
    // without one, others wrote meanwhile, and one more load looks at that
    generation: writer.generation ?? generation,
    dropped: [...dropped, ...more],
    replaced: writer.transactions > 0,
  };
}

/** Both steps of a load as one. */
export function together(made: Loaded | undefined, rest: Loaded): Loaded {
  if (!made) return rest;
  return {
    ...rest,
    before: made.before,
    objects: made.objects + rest.objects,
    sessions: Math.max(made.sessions, rest.sessions),
    dropped: [...made.dropped, ...rest.dropped],
  };
}
