import { lookup } from 'node:dns/promises';
import { ClientError } from './error.ts';

/**
 * The addresses to go to: of each family the first that the system gives for `host`, in its order, which is the one
 * that ssh takes. Asked only once, so that knocks and connections have the same destination. Throws ClientError.
 */
export async function resolveHost(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, verbatim: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EAI_AGAIN')
      throw new ClientError(
        `the address of ${host} cannot be looked up now (EAI_AGAIN): check the network, or give the address instead`,
      );
    throw new ClientError(
      `no address is known for ${host} (${error.code}): check the name, or give the address instead`,
    );
  });
  return found
    .filter(({ family }, index) => found.findIndex(other => other.family === family) === index)
    .map(({ address }) => address);
}
