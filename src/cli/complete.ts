import { hostsPath } from '../client/folders.ts';
import { readHosts } from '../client/hosts.ts';
import { ConfigError } from '../config/problems.ts';
import { configPath } from '../config/read.ts';
import { readAnswering } from '../host/answering.ts';
import { type Context, EXIT } from './context.ts';

/**
 * `complete`: words for completion/knockd-nft.bash, one a line: `services`, the `users` of a service, or the client's
 * `hosts`. Prints nothing if the file cannot be read or is not valid, since messages would disturb a user who types.
 */
export async function completeCommand(context: Context, [kind, service]: readonly string[]): Promise<number> {
  try {
    for (const word of await words(context, kind, service)) context.print(word);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
  return EXIT.DONE;
}

async function words(
  { config, env }: Context,
  kind: string | undefined,
  of: string | undefined,
): Promise<string[]> {
  if (kind === 'hosts') return readHosts(hostsPath(env)).map(({ name }) => name);
  const { services } = (await readAnswering(configPath(config, env), env)).config;
  if (kind === 'services') return services.map(({ name }) => name);
  return services.flatMap(({ name, sequences, tokens }) =>
    name === of ? [...new Set([...sequences, ...tokens].flatMap(({ user }) => user ?? []))] : [],
  );
}
