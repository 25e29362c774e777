import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigError, formatProblem, warningOf } from '../config/problems.ts';
import { configPath } from '../config/read.ts';
import type { Config } from '../config/types.ts';
import { withSecrets } from '../config/with-secrets.ts';
import { type Applied, apply, type Fed, unkeptTexts } from '../feeder/apply.ts';
import { withKernel } from '../host/access.ts';
import {
  bringBackHold,
  endHold,
  follows,
  type Hold,
  readHold,
  runningSupervisor,
  writeHold,
} from '../host/hold.ts';
import { interfaceTroubles } from '../host/interfaces.ts';
import { keepLastGood, lastGoodPath } from '../host/last-good.ts';
import { makeReadable } from '../host/readable.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { changeText, count, differences } from '../ruleset/describe.ts';
import { decompile } from '../ruleset/program.ts';
import { opens } from '../ruleset/service.ts';
import { droppedText } from '../table/fit.ts';
import type { Loaded } from '../table/load.ts';
import { refuseWhileTrying } from '../trial/notes.ts';
import { forgetUnconfirmed, refuseUnconfirmed } from '../trial/unconfirmed.ts';
import { readConfiguration } from './configuration.ts';
import { type Context, EXIT, UsageError } from './context.ts';

/** `load`: makes the kernel match the file, and says what changed. */
export async function loadCommand(
  context: Context,
  options: { readonly lastGood: boolean; readonly force: boolean },
): Promise<number> {
  refuseWhileTrying(context.env);
  const read = await readWanted(context, options);
  const { config, bytes } = read;
  const { wanted, feeding, ...loaded } = await putInForce(context, read, options.force);
  if (options.force) tellUnlessForgotten(context, bytes);
  const event = loaded.objects === 0 ? 'unchanged' : loaded.before ? 'swapped' : 'loaded';
  const changes =
    event === 'swapped' ? differences(loaded.before && decompile(loaded.before), decompile(wanted)) : [];
  if (context.json)
    context.print(
      JSON.stringify({
        event,
        table: config.table,
        services: config.services.map(({ name }) => name),
        objects: loaded.objects,
        sessions: loaded.sessions,
        changes,
        tokens: tokensValue(feeding),
      }),
    );
  else {
    context.print(headline(event, wanted, guardsText(config), loaded));
    for (const change of changes) context.print(`  ${changeText(change)}`);
    const tokens = tokensText(feeding);
    if (tokens !== undefined) context.print(tokens);
  }
  return EXIT.DONE;
}

/** The load is done by now, whether or not this fails. */
function tellUnlessForgotten({ env, tell }: Context, bytes: Uint8Array): void {
  try {
    forgetUnconfirmed(env, bytes);
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    tell(
      `knockd-nft: this content still counts as not confirmed (${why}), so a boot does not load it: run this again`,
    );
  }
}

/**
 * A supervisor that follows another file would go back to that within seconds. Throws {@link UsageError}. With `force` it
 * returns a hold instead, which makes the supervisor leave the kernel alone until the next load of its own file.
 */
function holdAgainstSupervisor({ config, env }: Context, force: boolean): Hold | undefined {
  const path = resolve(configPath(config, env));
  const supervisor = runningSupervisor(env);
  if (!supervisor || follows(supervisor, path)) return undefined;
  if (!force)
    throw new UsageError(
      `the running supervisor (process ${supervisor.pid}) follows another file, and would load that again: knockd-nft --config ${supervisor.config} load; or use --force to keep ${path} loaded until the supervisor's next load`,
    );
  return { reason: `${path} is loaded by hand`, until: null };
}

/** Makes the kernel match a configuration that was read, and keeps it for a boot with a bad one. */
export async function putInForce(
  context: Context,
  { config, bytes, secretFiles, path }: Omit<Awaited<ReturnType<typeof readConfiguration>>, 'warnings'>,
  force = false,
): Promise<Applied> {
  const { env, tell } = context;
  const hold = holdAgainstSupervisor(context, force);
  makeReadable(path, secretFiles, context);
  const before = readHold(env);
  if (hold) writeHold(env, hold);
  const applied = await withKernel(access =>
    apply(access, config, { env, mayCommit: () => refuseWhileTrying(env) }),
  ).catch(error => {
    const left = hold && bringBackHold(env, before);
    if (left !== undefined) tell(`knockd-nft: ${left}`);
    throw error;
  });
  const kept = hold ? undefined : lastGoodPath(env);
  if (kept !== undefined)
    for (const warning of keepLastGood(kept, withSecrets(bytes.toString(), config)))
      tell(formatProblem(warning));
  for (const dropped of applied.dropped) tell(droppedText(dropped));
  for (const message of unkeptTexts(applied.feeding)) tell(`knockd-nft: ${message}`);
  const unended = hold ? undefined : endHold(env);
  if (unended !== undefined) tell(`knockd-nft: ${unended}`);
  for (const message of (await interfaceTroubles(config)).texts)
    tell(formatProblem(warningOf(path, message)));
  return applied;
}

/** The configuration. If it is not valid and `lastGood` is set, as at boot, the last one that could be loaded. */
async function readWanted(
  context: Context,
  { lastGood, force }: { readonly lastGood: boolean; readonly force: boolean },
) {
  try {
    const read = await readConfiguration(context);
    if (!force) refuseUnconfirmed(context.env, read.path, read.bytes);
    return read;
  } catch (error) {
    const path = lastGood ? lastGoodPath(context.env) : undefined;
    if (!(error instanceof ConfigError) || path === undefined || !existsSync(path)) throw error;
    context.tell(error.problems.map(formatProblem));
    context.tell('knockd-nft: THE CONFIGURATION CANNOT BE USED: the last good one is loaded instead');
    return await readConfiguration(context, path);
  }
}

/** The time when the last token in the kernel ends. */
function tokensValue(feeding: Fed) {
  return feeding.is === 'fed' ? { users: feeding.users, until: new Date(feeding.until).toISOString() } : null;
}

export function tokensText(feeding: Fed): string | undefined {
  switch (feeding.is) {
    case 'none':
      return undefined;
    case 'waiting':
      return 'tokens: none, until the clock is synchronized';
    case 'failed':
      return `tokens: not fed: ${feeding.message}`;
    case 'fed': {
      const { users, until, from, why } = feeding;
      const gap =
        from === undefined
          ? ''
          : `, from ${new Date(from).toISOString()} on${why === undefined ? '' : `: ${why}`}`;
      return `tokens: ${count(users, 'user')}, until ${new Date(until).toISOString()}${gap}`;
    }
  }
}

function guardsText({ services }: Config): string {
  const guarded = services.filter(opens).length;
  const events = services.length - guarded;
  return `guards ${count(guarded, 'service')}${events > 0 ? `, ${events} without ports` : ''}`;
}

function headline(
  event: string,
  { table }: Ruleset,
  guards: string,
  { transactions, objects, sessions }: Loaded,
): string {
  const kept = sessions > 0 ? `, ${count(sessions, 'running connection')} kept` : '';
  if (event === 'unchanged') return `unchanged: table inet ${table.name} ${guards}`;
  return `${event}: table inet ${table.name} ${guards} (${count(objects, 'object')} in ${transactions === 1 ? 'one transaction' : `${transactions} transactions`}${kept})`;
}
