import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import { ClientError } from './error.ts';

/**
 * The addresses that the system gives for `host`, in its order, which is the order in which ssh tries them. We ask only once,
 * so that knocks and connections have the same destination. Throws ClientError.
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
  return [...new Set(found.map(({ address }) => address))];
}

/**
 * The addresses in the groups in which to knock on them. Those of different families come together, since either family may
 * lead nowhere. Those of one family come one after the other. The first group holds the addresses that any program takes first.
 */
export function inTurns(addresses: readonly string[]): readonly (readonly string[])[] {
  const families = [addresses.filter(isIPv6), addresses.filter(address => !isIPv6(address))];
  const length = Math.max(...families.map(family => family.length));
  return Array.from({ length }, (_, index) =>
    addresses.filter(address => families.some(family => family[index] === address)),
  );
}
