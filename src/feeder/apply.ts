// feeder/ keeps the one-time tokens of the coming hours in the kernel, and a ledger of those that were used.
// apply.ts is a load with its tokens; ledger.ts and feed-plan.ts are pure.
// Floor 5: it imports only from rooms on lower floors.

import { parseConfig } from '../config/parse.ts';
import type { Config } from '../config/types.ts';
import type { Access } from '../host/access.ts';
import { readPlain } from '../host/files.ts';
import { lastGoodPath } from '../host/last-good.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { compile } from '../ruleset/compile.ts';
import { decompile, tokenPlaces } from '../ruleset/program.ts';
import type { KnownClient } from '../table/clients.ts';
import { HalfDoneError } from '../table/errors.ts';
import { explain } from '../table/explain.ts';
import { droppedText } from '../table/fit.ts';
import { type Loaded, load } from '../table/load.ts';
import { revokePlaces } from '../table/openings.ts';
import { type Kernel, readKernel } from '../table/read.ts';
import { VERSION } from '../version.ts';
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
  readonly mayCommit?: () => void;
  /** The caller has seen each use of a token until now. */
  readonly watched?: boolean;
}

/**
 * Makes the kernel match a configuration. The program comes first, because it guards, then the tokens. If feeding tokens
 * fails, the guard stands all the same. Throws as {@link load} does.
 */
export async function apply(access: Access, config: Config, options: Options): Promise<Applied> {
  const wanted = compile(config, VERSION);
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
  { env, remembered = [], mayCommit = () => {}, watched = false }: Options,
): Promise<Loaded & { readonly feeding: Fed }> {
  const kernel = await readKernel(connection);
  const { unkept, ...loaded } = await withdrawing(
    connection,
    kernel,
    wanted,
    env,
    async unkept => {
      await revokeNameless(connection, kernel, wanted);
      const isAsRead = (await readGeneration(connection)) === kernel.generation;
      const read = isAsRead ? kernel : undefined;
      return { unkept, ...(await load(connection, wanted, sessions, remembered, mayCommit, read)) };
    },
    mayCommit,
  );
  const { generation } = loaded;
  try {
    const gone = goneUsers(loaded.before, wanted);
    if (gone.size > 0) await revokePlaces(connection, gone);
    if (!tokens) return { ...loaded, feeding: { is: 'none', unkept } };
    const known = gone.size > 0 ? undefined : generation;
    const feeding = await feed(connection, tokens, { env, watched, generation: known });
    const after = feeding.is === 'fed' ? (feeding.generation ?? generation) : generation;
    return { ...loaded, generation: after, feeding };
  } catch (error) {
    return { ...loaded, feeding: { is: 'failed', message: explain(error) ?? String(error) } };
  }
}

/**
 * Takes the tokens out of tables that `remove` is about to remove, or whose sets it is about to remove, and then calls it. Without
 * `wanted` these are all tables. `remove` gets the reason if the used tokens cannot be recorded; else undefined. Throws
 * {@link HalfDoneError} if it fails after tokens were taken out. `mayCommit` is called before that, and may throw.
 */
export async function withdrawing<T>(
  connection: Access['connection'],
  { ours }: Kernel,
  wanted: Ruleset | undefined,
  env: NodeJS.ProcessEnv,
  remove: (unkept: string | undefined) => Promise<T>,
  mayCommit = () => {},
): Promise<T> {
  const left = ours.filter(
    ruleset =>
      hasTokens(ruleset) && !(wanted && ruleset.table.name === wanted.table.name && hasTokens(wanted)),
  );
  if (left.length > 0) mayCommit();
  let begun = false;
  try {
    let unkept: string | undefined;
    for (const { table } of left) {
      unkept = (await withdraw(connection, table.name, env)) ?? unkept;
      begun = true;
    }
    return await remove(unkept);
  } catch (error) {
    throw begun && !(error instanceof HalfDoneError) ? new HalfDoneError(error) : error;
  }
}

/**
 * A service whose last user goes has no map of users afterwards, so its clients lose their users' names. Openings by tokens
 * that lead nowhere any more are therefore revoked before the load. The load does not depend on it.
 */
async function revokeNameless(
  connection: Access['connection'],
  { ours }: Kernel,
  wanted: Ruleset,
): Promise<void> {
  const before = ours.find(({ table }) => table.name === wanted.table.name);
  const maps = new Set(wanted.sets.map(({ name }) => name));
  if (before?.sets.every(({ name }) => maps.has(name))) return;
  const gone = goneUsers(before, wanted);
  if (gone.size > 0) await revokePlaces(connection, gone).catch(() => {});
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

/** Says that used tokens cannot be recorded, why, and what that costs; empty if they were. */
export function unkeptTexts(feeding: Fed): readonly string[] {
  const unkept = 'unkept' in feeding ? feeding.unkept : undefined;
  return unkept === undefined ? [] : [unkeptText(unkept)];
}

export function unkeptText(why: string): string {
  return `used tokens cannot be remembered: ${why}; so the next start leaves out those of five minutes`;
}
