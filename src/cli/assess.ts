// cli/ has a file for each command. It makes one call to a floor below, and prints the result.
// It reads words and makes sentences; the floors below decide.
// Floor 8: it imports only from rooms on lower floors.

import type { ReadConfig } from '../config/parse.ts';
import { ConfigError, formatProblem, type Problem, UnreadableError, warningOf } from '../config/problems.ts';
import { countUsers, windowsFor } from '../config/tokens.ts';
import type { Config } from '../config/types.ts';
import { withKernel } from '../host/access.ts';
import { readAnswering } from '../host/answering.ts';
import { type Hold, holdText, readHold, readTroubles } from '../host/hold.ts';
import { lookHere, troublesOf } from '../host/interfaces.ts';
import { readableWarnings } from '../host/readable.ts';
import { count } from '../ruleset/describe.ts';
import type { Status } from '../ruleset/status.ts';
import { clientsIn, headline, knockers } from '../ruleset/status-text.ts';
import { observe } from '../table/observe.ts';
import { beginOf } from '../token/derive.ts';
import type { STATES } from './context.ts';
import { failureOf } from './failure.ts';
import { type TokenStatus, tokenStatus } from './token-status.ts';

interface Assessment {
  readonly state: keyof typeof STATES;
  /** One line. */
  readonly text: string;
  /** The counts, if the kernel could be read. */
  readonly perfdata?: string;
}

/** Whether all is well: the file is in force and guards something, and nothing is about to change that. */
export async function assess(path: string, env: NodeJS.ProcessEnv): Promise<Assessment> {
  try {
    const { read, why } = await readOrWhy(path, env);
    const { status, loaded } = await withKernel(({ connection }) => observe(connection, read?.config));
    const seen = { status, hold: readHold(env) };
    const measured = { perfdata: perfdata(status) };
    if (!read) return { ...judge({ ...seen, unusable: why }), ...measured };
    const { config, secretFiles } = read;
    const counters = new Map(loaded?.counters.map(({ name, packets }) => [name, packets]));
    const warnings = [...readableWarnings(path, secretFiles, env), ...(await astrayWarnings(config, path))];
    const assessed = judge({
      ...seen,
      tokens: loaded && tokenStatus(config, counters, env),
      soon: Date.now() + beginOf(windowsFor(countUsers(config.services), config.token.hours)) / 4,
      warnings: [...warnings.map(formatProblem), ...readTroubles(env).map(({ what }) => what)],
    });
    return { ...assessed, ...measured };
  } catch (error) {
    return { state: 'UNKNOWN', text: (failureOf(error).lines[0] ?? '').replace(/^knockd-nft: /, '') };
  }
}

async function readOrWhy(
  path: string,
  env: NodeJS.ProcessEnv,
): Promise<
  { readonly read: ReadConfig; readonly why: undefined } | { readonly read: undefined; readonly why: string }
> {
  try {
    return { read: await readAnswering(path, env), why: undefined };
  } catch (error) {
    if (!(error instanceof ConfigError) || (error instanceof UnreadableError && error.permission))
      throw error;
    return { read: undefined, why: error.problems.slice(0, 1).map(formatProblem).join() };
  }
}

/** Leaves out absent interfaces, since they may come. The other faults matter now. */
async function astrayWarnings(config: Config, path: string): Promise<Problem[]> {
  const { at, astray } = await lookHere(config);
  const now = astray.filter(({ is }) => is !== 'absent');
  return troublesOf({ at, astray: now }).map(text => warningOf(path, text));
}

/** The facts to judge by. */
interface Seen {
  readonly status: Status;
  readonly hold: Hold | undefined;
  /** Why the file cannot be used. */
  readonly unusable?: string;
  readonly tokens?: TokenStatus | undefined;
  /** If the tokens end before this moment, the administrator should look. In milliseconds of the epoch. */
  readonly soon?: number;
  readonly warnings?: readonly string[];
}

function judge(seen: Seen): Assessment {
  const { status, hold, unusable, tokens, soon = 0, warnings = [] } = seen;
  const critical = (text: string): Assessment => ({ state: 'CRITICAL', text });
  const warning = (text: string): Assessment => ({ state: 'WARNING', text });
  const held = hold ? `; held: ${holdText(hold)}` : '';
  if (!status.loaded || status.guarded === false)
    return critical(`${headline(status, hold !== undefined)}${held}`);
  if (hold) return warning(`held: ${holdText(hold)}`);
  if (unusable !== undefined) return critical(unusable);
  if (status.inSync !== true) return critical(headline(status));
  const until = tokens?.until == null ? undefined : Date.parse(tokens.until);
  if (until !== undefined && until <= Date.now()) return critical('tokens ran out: no new ones were fed');
  const runOut =
    until !== undefined && until < soon ? [`tokens run out at ${tokens?.until}: no new ones are fed`] : [];
  const [first] = [...warnings, ...runOut, ...(tokens?.trouble.map(it => `tokens: ${it}`) ?? [])];
  if (first !== undefined) return warning(first);
  const services = Object.values(status.services);
  const guarded = services.filter(({ ports }) => ports.length > 0).length;
  const events = services.length - guarded;
  const only = events > 0 ? `, ${count(events, 'service')} without ports` : '';
  const from = tokens?.from == null ? '' : `; tokens open from ${tokens.from} on`;
  const text = `${count(guarded, 'service')} guarded${only}, ${clientsIn(status).length} in${from}`;
  return { state: 'OK', text };
}

/** As monitors draw it: `in=2 knocking=0 wrong_knocks=4c`. */
function perfdata(status: Status): string {
  return `in=${clientsIn(status).length} knocking=${knockers(status).length} wrong_knocks=${status.wrongKnocks}c`;
}
