import { formatDuration } from '../config/duration.ts';
import { formatPortRange } from '../config/ports.ts';
import type { Config, Service } from '../config/types.ts';
import { count } from '../ruleset/describe.ts';
import { type Context, EXIT, readConfiguration } from './context.ts';

/** Ports that a single knock may go to, TCP and UDP: what a guesser has to try at each step. */
const KNOCKS = 2 * 65_535;

/** `check`: validates, and says what it means. */
export async function checkCommand(context: Context, file: string | undefined): Promise<number> {
  const { config, path } = readConfiguration(context, file);
  if (context.json) context.print(JSON.stringify({ file: path, services: config.services.map(summary) }));
  else for (const line of text(path, config)) context.print(line);
  return EXIT.DONE;
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
