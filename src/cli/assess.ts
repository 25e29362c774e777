import { ConfigError, formatProblem, type Problem, UnreadableError, warningOf } from '../config/problems.ts';
import { readConfig } from '../config/read.ts';
import type { Config } from '../config/types.ts';
import { withKernel } from '../host/access.ts';
import { type Hold, holdText, readHold } from '../host/hold.ts';
import { lookHere, troublesOf } from '../host/interfaces.ts';
import { compile } from '../ruleset/compile.ts';
import { count } from '../ruleset/describe.ts';
import type { Status } from '../ruleset/status.ts';
import { clientsIn, headline } from '../ruleset/status-text.ts';
import { observe } from '../table/observe.ts';
import { VERSION } from '../version.ts';
import { failureOf } from './failure.ts';
import { readableWarnings } from './readable.ts';

/** The exit status of a check by the word that Nagios, Icinga and their like have for it. */
export const STATES = { OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3 } as const;

export interface Assessment {
  readonly state: keyof typeof STATES;
  /** One line. */
  readonly text: string;
}

/** Whether all is well: the file is in force, it guards something, and nothing is about to change that. */
export async function assess(path: string, env: NodeJS.ProcessEnv): Promise<Assessment> {
  try {
    const read = readOrWhy(path, env);
    const wanted = 'config' in read ? compile(read.config, VERSION) : undefined;
    const { status } = await withKernel(({ connection }) => observe(connection, wanted));
    const unusable = 'why' in read ? read.why : undefined;
    const astray = 'config' in read ? await astrayWarnings(read.config, path) : [];
    return judge(status, readHold(env), unusable, [...readableWarnings(path, env), ...astray]);
  } catch (error) {
    return { state: 'UNKNOWN', text: (failureOf(error).lines[0] ?? '').replace(/^knockd-nft: /, '') };
  }
}

function readOrWhy(
  path: string,
  env: NodeJS.ProcessEnv,
): { readonly config: Config } | { readonly why: string } {
  try {
    return readConfig(path, env);
  } catch (error) {
    if (!(error instanceof ConfigError) || (error instanceof UnreadableError && error.permission))
      throw error;
    return { why: error.problems.slice(0, 1).map(formatProblem).join() };
  }
}

/** An interface that is not there may come; what comes in by another one than its name says does so now. */
async function astrayWarnings(config: Config, path: string): Promise<Problem[]> {
  const { at, astray } = await lookHere(config);
  const now = astray.filter(({ is }) => is !== 'absent');
  return troublesOf({ at, astray: now }).map(text => warningOf(path, text));
}

function judge(
  status: Status,
  hold: Hold | undefined,
  unusable: string | undefined,
  warnings: readonly Problem[],
): Assessment {
  const held = hold ? `; held: ${holdText(hold)}` : '';
  if (!status.guarded) return { state: 'CRITICAL', text: `${headline(status, hold !== undefined)}${held}` };
  if (hold) return { state: 'WARNING', text: `held: ${holdText(hold)}` };
  if (unusable !== undefined) return { state: 'CRITICAL', text: unusable };
  if (status.inSync !== true) return { state: 'CRITICAL', text: headline(status) };
  const [warning] = warnings;
  if (warning) return { state: 'WARNING', text: formatProblem(warning) };
  const services = Object.keys(status.services);
  return {
    state: 'OK',
    text: `${count(services.length, 'service')} guarded, ${clientsIn(status).length} in`,
  };
}
