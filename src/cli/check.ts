import { ConfigError, formatProblem, type Problem, warningOf } from '../config/problems.ts';
import { configPath } from '../config/read.ts';
import { countUsers, windowsFor } from '../config/tokens.ts';
import type { Config, Service } from '../config/types.ts';
import { readAnswering } from '../host/answering.ts';
import { readableWarnings } from '../host/readable.ts';
import { formatDuration } from '../inet/duration.ts';
import { formatNetwork } from '../inet/network.ts';
import { formatPort, formatPortRange } from '../inet/port.ts';
import { unsupported } from '../netlink/supported.ts';
import { count } from '../ruleset/describe.ts';
import { type Context, EXIT } from './context.ts';
import type { Meaning } from './meaning.ts';

/** The ports that a single knock may go to, TCP and UDP. A guesser has to try them at each step. */
const KNOCKS = 2 * 65_535;

/**
 * `check`: validates the file, and says what it means on this host. With `--json` the problems are values of the result, too.
 * The supervisor's unit calls it with `reload` before a reload. It then fails during a trial, because the supervisor would not
 * read the file.
 */
export async function checkCommand(
  context: Context,
  file: string | undefined,
  reload: boolean,
): Promise<number> {
  const { env, json, print, tell } = context;
  if (reload) (await import('../trial/notes.ts')).refuseWhileTrying(env);
  const path = file ?? configPath(context.config, env);
  try {
    const { config, warnings, secretFiles } = await readAnswering(path, env);
    const here = (await unsupported()) === undefined ? await import('./meaning.ts') : undefined;
    const meaning = await here?.meaningHere(config, env);
    const problems = [
      ...warnings,
      ...payloadWarnings(config, path),
      ...readableWarnings(path, secretFiles, env),
      ...(meaning?.troubles ?? []).map(it => warningOf(path, it)),
    ];
    for (const problem of problems) tell(formatProblem(problem));
    if (json) print(JSON.stringify(result(path, config, meaning, problems)));
    else {
      const lines = here && meaning ? here.meaningLines(config, meaning) : [];
      print([...text(path, config), ...lines.map(line => `  ${line}`)]);
    }
    return EXIT.DONE;
  } catch (error) {
    if (json && error instanceof ConfigError)
      print(JSON.stringify({ file: path, valid: false, services: [], problems: error.problems }));
    throw error;
  }
}

/** All clients behind a proxy have the proxy's address. */
function payloadWarnings({ token, services }: Config, file: string): readonly Problem[] {
  if (token.payload.length === 0 || countUsers(services) === 0) return [];
  const ports = token.payload.map(formatPort).join(', ');
  const message = `token.payload: if clients reach ${ports} through a proxy, a token opens for the proxy, and so for all its clients`;
  return [warningOf(file, message)];
}

/** The result for `--json`. The file's meaning on this host is null if this machine is no server. */
function result(file: string, config: Config, meaning: Meaning | undefined, problems: readonly Problem[]) {
  const { policy, hook, interfaces } = config;
  return {
    ...{ file, valid: true },
    services: config.services.map(summary),
    tokens: tokensOf(config),
    ...{ policy, cuts: meaning?.cuts ?? null, hook, forwarded: meaning?.forwarded ?? null },
    public: config.public.map(formatPortRange),
    allow: config.allow.map(formatNetwork),
    ...{ interfaces, absentInterfaces: meaning?.absent ?? null },
    ...{ unguardedInterfaces: meaning?.unguarded ?? null, problems },
  };
}

/** How many users have tokens, and for how many hours these fit into the kernel; null if no user has any. */
function tokensOf({ services, token }: Config) {
  const users = countUsers(services);
  return users === 0 ? null : { users, hours: windowsFor(users, token.hours) / 60 };
}

function summary({ name, ports, sequences, tokens, openFor, knockTimeout, singleUse, closed }: Service) {
  return {
    name,
    ports: ports.map(formatPortRange),
    sequences: sequences.map(({ user, knocks }) => ({
      user,
      knocks: knocks.length,
      guesses: KNOCKS ** knocks.length,
    })),
    tokens: tokens.map(({ user }) => user),
    knockTimeout: knockTimeout / 1000,
    openFor: openFor / 1000,
    singleUse,
    closed,
  };
}

function text(path: string, config: Config): string[] {
  const tokens = tokensOf(config);
  return [
    `${path}: valid, ${count(config.services.length, 'service')}`,
    ...config.services.flatMap(({ name, ports, sequences, tokens, openFor }) => [
      ports.length > 0
        ? `  ${name}: ${ports.map(formatPortRange).join(', ')}, open for ${formatDuration(openFor)}`
        : `  ${name}: no ports: opens nothing, and is only an event`,
      ...sequences.map(
        ({ user, knocks }) =>
          `    ${user === null ? '' : `${user}: `}${count(knocks.length, 'knock')}, ${guesses(knocks.length)} guesses to break`,
      ),
      ...(tokens.length > 0 ? [`    one-time tokens: ${tokens.map(({ user }) => user).join(', ')}`] : []),
    ]),
    ...(tokens
      ? [
          `  tokens of ${count(tokens.users, 'user')}: the kernel holds those of ${Math.floor(tokens.hours * 10) / 10} hours`,
        ]
      : []),
  ];
}

/** A power of ten for people: `about 3e20`. */
function guesses(knocks: number): string {
  return `about ${(KNOCKS ** knocks).toExponential(0).replace('e+', 'e')}`;
}
