import { existsSync } from 'node:fs';
import { ConfigError, formatProblem } from '../config/problems.ts';
import { withSecrets } from '../config/secrets.ts';
import { type Applied, apply, type Fed } from '../feeder/apply.ts';
import { withKernel } from '../host/access.ts';
import { endHold } from '../host/hold.ts';
import { keepLastGood, lastGoodPath } from '../host/last-good.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { changeText, count, differences } from '../ruleset/describe.ts';
import { droppedText } from '../table/fit.ts';
import type { Loaded } from '../table/load.ts';
import { refuseWhileTrying } from '../trial/notes.ts';
import { forgetUnconfirmed, refuseUnconfirmed } from '../trial/unconfirmed.ts';
import { type Context, EXIT, readConfiguration } from './context.ts';
import { makeReadable } from './readable.ts';

/** `load`: makes the kernel match the file, and says what changed. */
export async function loadCommand(
  context: Context,
  options: { readonly lastGood: boolean; readonly force: boolean },
): Promise<number> {
  refuseWhileTrying(context.env);
  const read = readWanted(context, options);
  const { config, bytes } = read;
  const { wanted, feeding, ...loaded } = await putInForce(context, read);
  if (options.force) forgetUnconfirmed(context.env, bytes);
  const event = loaded.objects === 0 ? 'unchanged' : loaded.before ? 'swapped' : 'loaded';
  const changes = event === 'swapped' ? differences(loaded.before, wanted) : [];
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
    context.print(headline(event, wanted, config.services.length, loaded));
    for (const change of changes) context.print(`  ${changeText(change)}`);
    const tokens = tokensText(feeding);
    if (tokens !== undefined) context.print(tokens);
  }
  return EXIT.DONE;
}

/** Makes the kernel match a configuration that was read, and keeps it for a boot with a bad one. */
export async function putInForce(
  context: Context,
  { config, bytes, path }: Pick<ReturnType<typeof readConfiguration>, 'config' | 'bytes' | 'path'>,
): Promise<Applied> {
  const { env, tell } = context;
  makeReadable(path, context);
  const applied = await withKernel(access =>
    apply(access, config, { env, mayCommit: () => refuseWhileTrying(env) }),
  );
  const kept = lastGoodPath(env);
  if (kept !== undefined)
    for (const warning of keepLastGood(kept, withSecrets(bytes.toString(), config)))
      tell(formatProblem(warning));
  for (const dropped of applied.dropped) tell(droppedText(dropped));
  endHold(env);
  return applied;
}

/** The configuration; or the last one that could be loaded, where it is not valid and that is wanted: at boot. */
function readWanted(
  context: Context,
  { lastGood, force }: { readonly lastGood: boolean; readonly force: boolean },
) {
  try {
    const read = readConfiguration(context);
    if (!force) refuseUnconfirmed(context.env, read.path, read.bytes);
    return read;
  } catch (error) {
    const path = lastGood ? lastGoodPath(context.env) : undefined;
    if (!(error instanceof ConfigError) || path === undefined || !existsSync(path)) throw error;
    context.tell(error.problems.map(formatProblem));
    context.tell('knockd-nft: THE CONFIGURATION CANNOT BE USED: the last good one is loaded instead');
    return readConfiguration(context, path);
  }
}

/** When the last token in the kernel ends. */
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
      const gap = from === undefined ? '' : `, from ${new Date(from).toISOString()} on: ${why}`;
      return `tokens: ${count(users, 'user')}, until ${new Date(until).toISOString()}${gap}`;
    }
  }
}

function headline(
  event: string,
  { table }: Ruleset,
  services: number,
  { objects, sessions }: Loaded,
): string {
  const kept = sessions > 0 ? `, ${count(sessions, 'running connection')} kept` : '';
  if (event === 'unchanged')
    return `unchanged: table inet ${table.name} guards ${count(services, 'service')}`;
  return `${event}: table inet ${table.name} guards ${count(services, 'service')} (${count(objects, 'object')} in one transaction${kept})`;
}
