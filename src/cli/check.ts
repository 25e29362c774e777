import { formatDuration } from '../config/duration.ts';
import { formatPortRange } from '../config/ports.ts';
import { ConfigError, formatProblem, type Problem, warningOf } from '../config/problems.ts';
import { configPath, readConfig } from '../config/read.ts';
import type { Config, Service } from '../config/types.ts';
import { count } from '../ruleset/describe.ts';
import { refuseWhileTrying } from '../trial/notes.ts';
import { type Context, EXIT } from './context.ts';
import { type Meaning, meaningHere, meaningLines } from './meaning.ts';
import { readableWarnings } from './readable.ts';

/** Ports that a single knock may go to, TCP and UDP: what a guesser has to try at each step. */
const KNOCKS = 2 * 65_535;

/**
 * `check`: validates, and says what it means, here. With `--json` the problems are values of the result, too. With `reload`, as
 * the supervisor's unit calls it before it has the file read again, it fails while something is tried: nothing would be read
 * then.
 */
export async function checkCommand(
  context: Context,
  file: string | undefined,
  reload: boolean,
): Promise<number> {
  const { env, json, print, tell } = context;
  if (reload) refuseWhileTrying(env);
  const path = file ?? configPath(context.config, env);
  try {
    const { config, warnings } = readConfig(path, env);
    const meaning = await meaningHere(config, env);
    const problems = [
      ...warnings,
      ...readableWarnings(path, env),
      ...meaning.troubles.map(it => warningOf(path, it)),
    ];
    for (const problem of problems) tell(formatProblem(problem));
    if (json) print(JSON.stringify(result(path, config, meaning, problems)));
    else print([...text(path, config), ...meaningLines(config, meaning).map(line => `  ${line}`)]);
    return EXIT.DONE;
  } catch (error) {
    if (json && error instanceof ConfigError)
      print(JSON.stringify({ file: path, valid: false, services: [], problems: error.problems }));
    throw error;
  }
}

function result(file: string, config: Config, { cuts, absent }: Meaning, problems: readonly Problem[]) {
  const { policy, hook } = config;
  return {
    ...{ file, valid: true },
    services: config.services.map(summary),
    ...{ policy, hook, cuts, absentInterfaces: absent, problems },
  };
}

function summary({ name, ports, sequences, openFor, knockTimeout, singleUse, closed }: Service) {
  return {
    name,
    ports: ports.map(formatPortRange),
    sequences: sequences.map(({ user, knocks }) => ({
      user,
      knocks: knocks.length,
      guesses: KNOCKS ** knocks.length,
    })),
    knockTimeout: knockTimeout / 1000,
    openFor: openFor / 1000,
    singleUse,
    closed,
  };
}

function text(path: string, config: Config): string[] {
  return [
    `${path}: valid, ${count(config.services.length, 'service')}`,
    ...config.services.flatMap(({ name, ports, sequences, openFor }) => [
      `  ${name}: ${ports.map(formatPortRange).join(', ')}, open for ${formatDuration(openFor)}`,
      ...sequences.map(
        ({ user, knocks }) =>
          `    ${user === null ? '' : `${user}: `}${count(knocks.length, 'knock')}, ${guesses(knocks.length)} guesses to break`,
      ),
    ]),
  ];
}

/** A power of ten for people: `about 3e20`. */
function guesses(knocks: number): string {
  return `about ${(KNOCKS ** knocks).toExponential(0).replace('e+', 'e')}`;
}
