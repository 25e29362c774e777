import type { Config } from '../config/types.ts';
import type { Access } from '../host/access.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { compile } from '../ruleset/compile.ts';
import { tokenPlaces } from '../ruleset/program.ts';
import type { KnownClient } from '../table/clients.ts';
import { explain } from '../table/explain.ts';
import { type Loaded, load } from '../table/load.ts';
import { revokePlaces } from '../table/openings.ts';
import { readKernel } from '../table/read.ts';
import { VERSION } from '../version.ts';
import { type Feeding, feed, hasTokens, type TokensWanted, tokensWanted, withdraw } from './feed.ts';

/** How the tokens stand after a load. */
export type Fed = Feeding | { readonly is: 'none' } | { readonly is: 'failed'; readonly message: string };

export interface Applied extends Loaded {
  readonly wanted: Ruleset;
  /** Undefined if the configuration has none. */
  readonly tokens: TokensWanted | undefined;
  readonly feeding: Fed;
}

/**
 * Makes the kernel match a configuration: the program first, which guards, then the tokens. No failure of tokens keeps a
 * guard away. Throws as {@link load} does.
 */
export async function apply(
  { connection, sessions }: Access,
  config: Config,
  options: {
    readonly env: NodeJS.ProcessEnv;
    /** Clients that are let in again where the table has to be made. */
    readonly remembered?: readonly KnownClient[];
    readonly mayCommit?: () => void;
    /** Whoever asks has seen each use of a token until now. */
    readonly watched?: boolean;
  },
): Promise<Applied> {
  const { env, remembered = [], mayCommit = () => {}, watched = false } = options;
  const wanted = compile(config, VERSION);
  await withdrawLeft(connection, wanted, env);
  const loaded = await load(connection, wanted, sessions, remembered, mayCommit);
  const tokens = tokensWanted(config);
  const { generation } = loaded;
  try {
    const gone = goneUsers(loaded.before, wanted);
    if (gone.size > 0) await revokePlaces(connection, gone);
    if (!tokens) return { ...loaded, wanted, tokens, feeding: { is: 'none' } };
    const known = gone.size > 0 ? undefined : generation;
    const feeding = await feed(connection, tokens, { env, watched, generation: known });
    const after = feeding.is === 'fed' ? (feeding.generation ?? generation) : generation;
    return { ...loaded, generation: after, wanted, tokens, feeding };
  } catch (error) {
    return { ...loaded, wanted, tokens, feeding: { is: 'failed', message: explain(error) ?? String(error) } };
  }
}

/** Tokens in a table that the load will remove, or whose sets it will. */
export async function withdrawLeft(
  connection: Access['connection'],
  wanted: Ruleset,
  env: NodeJS.ProcessEnv,
) {
  const { ours } = await readKernel(connection);
  for (const ruleset of ours)
    if (hasTokens(ruleset) && (ruleset.table.name !== wanted.table.name || !hasTokens(wanted)))
      await withdraw(connection, ruleset.table.name, env);
}

/** Places of tokens that lead nowhere any more: their users were removed, or have other secrets now. */
function goneUsers(before: Ruleset | undefined, wanted: Ruleset): Set<number> {
  const stay = tokenPlaces(wanted);
  return new Set(before ? [...tokenPlaces(before).keys()].filter(place => !stay.has(place)) : []);
}
