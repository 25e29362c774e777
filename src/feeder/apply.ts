// feeder/ keeps the one-time tokens of the coming hours in the kernel, and a ledger of those that were used.
// apply.ts is a load with its tokens; ledger.ts and feed-plan.ts are pure.
// Floor 5: it imports only from rooms on lower floors.

import { parseConfig } from '../config/parse.ts';
import type { Config } from '../config/types.ts';
import type { Access } from '../host/access.ts';
import { readPlain } from '../host/files.ts';
import { lastGoodPath } from '../host/last-good.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { compile } from '../ruleset/compile.ts';
import { decompile, tokenPlaces } from '../ruleset/program.ts';
import { alike } from '../ruleset/service.ts';
import type { KnownClient } from '../table/clients.ts';
import { HalfDoneError } from '../table/errors.ts';
import { reasonOf } from '../table/explain.ts';
import { droppedText } from '../table/fit.ts';
import { type Loaded, load } from '../table/load.ts';
import { revokePlaces } from '../table/openings.ts';
import { type Kernel, readKernel, recallKernel } from '../table/read.ts';
import { Writer } from '../table/writer.ts';
import { type Feeding, feed, type TokensWanted, tokensWanted, withdraw } from './feed.ts';
import { hasTokens } from './kernel.ts';

/** How the tokens stand after a load. */
export type Fed =
  | Feeding
  /** `unkept` says why the tokens that were taken out cannot be recorded as used; undefined if they were. */
  | { readonly is: 'none'; readonly unkept?: string | undefined }
  | { readonly is: 'failed'; readonly message: string };

export interface Applied extends Loaded {
  readonly wanted: Ruleset;
  /** Undefined if the configuration has none. */
  readonly tokens: TokensWanted | undefined;
  readonly feeding: Fed;
}

interface Options {
  readonly env: NodeJS.ProcessEnv;
  /** Clients that are let in again if the table has to be made. */
  readonly remembered?: readonly KnownClient[];
  /** As for {@link Writer}. */
  readonly mayCommit?: () => void;
  /** The caller has seen each use of a token until now. */
  readonly watched?: boolean;
  /** What the caller loaded last. The table need not be read if it is still so. */
  readonly former?: { readonly generation: number; readonly config: Config } | undefined;
}

/**
 * Makes the kernel match a configuration. The program comes first, because it guards, then the tokens. If feeding
 * tokens fails, the guard still stands. Throws as {@link load} does.
 */
export async function apply(access: Access, config: Config, options: Options): Promise<Applied> {
  const { former } = options;
  const wanted = compile(former ? alike(config, former.config) : config);
  const tokens = tokensWanted(config);
  return { ...(await put(access, wanted, tokens, options)), wanted, tokens };
}

/** The same for a ruleset that was in force before. Its tokens come from the configuration that was kept when it was loaded. */
export async function applyAgain(
  access: Access,
  former: Ruleset,
  options: Options,
): Promise<Loaded & { readonly feeding: Fed }> {
  const tokens = hasTokens(former) ? keptTokens(former, options.env) : undefined;
  const loaded = await put(access, former, tokens, options);
  if (tokens || !hasTokens(former)) return loaded;
  return { ...loaded, feeding: { is: 'failed', message: 'the former secrets were not kept' } };
}

function keptTokens(former: Ruleset, env: NodeJS.ProcessEnv): TokensWanted | undefined {
  const path = lastGoodPath(env);
  if (path === undefined) return undefined;
  try {
    const tokens = tokensWanted(parseConfig(readPlain(path), path, env).config);
    const places = tokenPlaces(decompile(former));
    const isOfFormer =
      tokens?.table === former.table.name && tokens.users.every(({ place }) => places.has(place));
    return isOfFormer ? tokens : undefined;
  } catch {
    return undefined; // no longer there, or not valid any more
  }
}

async function put(
  { connection, sessions }: Access,
  wanted: Ruleset,
  tokens: TokensWanted | undefined,
  { env, remembered, mayCommit, watched = false, former }: Options,
): Promise<Loaded & { readonly feeding: Fed }> {
  const writer = new Writer(connection, { mayCommit });
  const kernel = await readOrRecall(connection, wanted, former);
  const { unkept, ...loaded } = await withdrawing(writer, kernel, wanted, env, async unkept => {
    await revokeGone(writer, kernel, wanted);
    const isAsRead = (await readGeneration(connection)) === kernel.generation;
    const read = isAsRead ? kernel : undefined;
    return { unkept, ...(await load(writer, wanted, sessions, remembered, read)) };
  });
  const fill = async (): Promise<Fed> => {
    const gone = goneUsers(loaded.before, wanted);
    if (gone.size > 0) await revokePlaces(writer, gone);
    return tokens ? feed(writer, tokens, { env, watched }) : { is: 'none', unkept };
  };
  const feeding = await fill().catch((error): Fed => ({ is: 'failed', message: reasonOf(error) }));
  return { ...loaded, generation: writer.generation ?? loaded.generation, feeding };
}

/** A table of another name takes over the values of counters, so for that the former one is read. */
async function readOrRecall(
  connection: Connection,
  wanted: Ruleset,
  former: Options['former'],
): Promise<Kernel> {
  const recalled =
    former?.config.table === wanted.table.name
      ? await recallKernel(connection, { ...former, ruleset: () => compile(former.config) })
      : undefined;
  return recalled ?? readKernel(connection);
}

/**
 * Takes the tokens out of tables that `remove` is about to remove, or whose sets it is about to remove, and then calls it. Without
 * `wanted` these are all tables. `remove` gets the reason if the used tokens cannot be recorded; else undefined. Throws
 * {@link HalfDoneError} if it fails after tokens were taken out.
 */
export async function withdrawing<T>(
  writer: Writer,
  { ours }: Kernel,
  wanted: Ruleset | undefined,
  env: NodeJS.ProcessEnv,
  remove: (unkept: string | undefined) => Promise<T>,
): Promise<T> {
  const left = ours.filter(
    ruleset =>
      hasTokens(ruleset) && !(wanted && ruleset.table.name === wanted.table.name && hasTokens(wanted)),
  );
  try {
    let unkept: string | undefined;
    for (const { table } of left) unkept = (await withdraw(writer, table.name, env)) ?? unkept;
    return await remove(unkept);
  } catch (error) {
    throw writer.transactions > 0 && !(error instanceof HalfDoneError) ? new HalfDoneError(error) : error;
  }
}

/**
 * Openings by tokens that lead nowhere any more are revoked before the load, and once more after it, since a token opens until
 * then. A service whose last user goes has no map of users afterwards. And if what comes after a load fails, no later load
 * knows of those users. The load does not depend on it.
 */
async function revokeGone(writer: Writer, { ours }: Kernel, wanted: Ruleset): Promise<void> {
  const before = ours.find(({ table }) => table.name === wanted.table.name) ?? ours[0];
  const gone = goneUsers(before, wanted);
  if (gone.size > 0) await revokePlaces(writer, gone).catch(() => {});
}

/** Places of tokens that lead nowhere any more. Their users were removed, or have other secrets now. */
function goneUsers(before: Ruleset | undefined, wanted: Ruleset): Set<number> {
  if (!before || !hasTokens(before)) return new Set(); // a search for places takes long in a large table
  const stay = tokenPlaces(decompile(wanted));
  return new Set([...tokenPlaces(decompile(before)).keys()].filter(place => !stay.has(place)));
}

/** The failures of a load, in words. */
export function loadWarnings({
  dropped,
  feeding,
}: Pick<Loaded, 'dropped'> & { readonly feeding: Fed }): readonly string[] {
  const failed = feeding.is === 'failed' ? [`tokens are not fed: ${feeding.message}`] : [];
  return [...dropped.map(droppedText), ...failed, ...unkeptTexts(feeding)];
}

/** Says that used tokens cannot be recorded, why, and with what effect; empty if they were recorded. */
export function unkeptTexts(feeding: Fed): readonly string[] {
  const unkept = 'unkept' in feeding ? feeding.unkept : undefined;
  return unkept === undefined ? [] : [unkeptText(unkept)];
}

export function unkeptText(why: string): string {
  return `used tokens cannot be remembered: ${why}; so the next start leaves out those of five minutes`;
}
