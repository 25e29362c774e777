import { nearest } from '../config/nearest.ts';
import { quote } from '../config/report.ts';
import { masked } from '../inet/address.ts';
import type { Family } from '../inet/family.ts';
import { readNetwork } from '../inet/network.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { clientText } from '../ruleset/client.ts';
import { decompile } from '../ruleset/program.ts';
import type { Revocation } from '../table/openings.ts';
import { UsageError } from './context.ts';

/** The words of `grant` and `revoke`, read with the loaded table. All functions throw UsageError. */

interface Client {
  readonly family: Family;
  /** The first bits of an address, as many as make a client, the others 0. */
  readonly key: Buffer;
  /** The same for people. */
  readonly client: string;
}

/** Names of services and users have no such characters. */
function isLikeAddress(word: string): boolean {
  return /[.:/]|^\d/.test(word);
}

/** An address stands for its client. A network must be exactly one client. `instead` says what to do with others. */
export function readClient(word: string, ruleset: Ruleset, instead: string): Client {
  const outcome = readNetwork(word);
  if (!outcome.ok) throw new UsageError(`${quote(word)} ${outcome.wrong}: expected ${outcome.expected}`);
  const { family, address, length } = outcome.value;
  const size = decompile(ruleset).prefix[family];
  const single = size === address.length * 8;
  if (word.includes('/') && length !== size)
    throw new UsageError(
      `${quote(word)} is not one client, which is ${single ? 'a single address' : `a /${size}`} here: ${instead}`,
    );
  const key = masked(Buffer.from(address), size);
  return { family, key, client: clientText(family, key, size) };
}

const MOST_NAMES = 10;

/** The service of that name in the loaded table. */
export function readService(word: string, ruleset: Ruleset): string {
  const known = [...decompile(ruleset).services.keys()].toSorted();
  if (known.includes(word)) return word;
  const near = nearest(word, known);
  if (near === undefined)
    throw new UsageError(`there is no service ${quote(word)}: the table that is loaded guards nothing`);
  const shown = known.slice(0, MOST_NAMES).join(', ');
  const services = known.length > MOST_NAMES ? `${shown} and ${known.length - MOST_NAMES} more` : shown;
  if (isLikeAddress(word))
    throw new UsageError(`${quote(word)} is no service; a service comes before the address: ${services}`);
  throw new UsageError(
    `there is no service ${quote(word)} in the table that is loaded; the nearest is "${near}", of ${services}`,
  );
}

/** The words of `revoke`: `[SERVICE] ADDRESS|USER`, or with `all` `[SERVICE]`. No service means all services, no `whom` all clients. */
interface RevokeWords {
  readonly service?: string;
  readonly whom?: string;
}

export function readRevokeWords([first, second]: readonly string[], all: boolean): RevokeWords {
  if (all && (second !== undefined || (first !== undefined && isLikeAddress(first))))
    throw new UsageError('--all means every client: leave out either --all or the address or user');
  if (first === undefined) {
    if (all) return {};
    throw new UsageError('name a client: an address, a user, or --all');
  }
  if (all) return { service: first };
  return second === undefined ? { whom: first } : { service: first, whom: second };
}

/** The revocation that the words ask for. One word alone that names both a user and a service is the user. */
export function readRevocation({ service: named, whom }: RevokeWords, ruleset: Ruleset): Revocation {
  const { services: known, openings } = decompile(ruleset);
  const all = [...known.keys()];
  const everywhere = named === undefined;
  const services = everywhere ? all : [readService(named, ruleset)];
  if (whom === undefined) return { services, everywhere, whom: { is: 'everybody' } };
  if (isLikeAddress(whom)) {
    const instead = 'take back one client, or all with --all';
    return { services, everywhere, whom: { is: 'client', ...readClient(whom, ruleset, instead) } };
  }
  const users = new Map<string, Set<string>>();
  for (const { service, user } of openings.values())
    if (user !== null) users.set(service, (users.get(service) ?? new Set()).add(user));
  const having = services.filter(service => users.get(service)?.has(whom));
  if (having.length > 0) return { services: having, everywhere: false, whom: { is: 'user', name: whom } };
  if (named === undefined && all.includes(whom))
    throw new UsageError(
      `name a client: knockd-nft revoke ${whom} ADDRESS, or knockd-nft revoke ${whom} --all for every client`,
    );
  const near = nearest(whom, [...new Set(services.flatMap(service => [...(users.get(service) ?? [])]))]);
  const nobody = near === undefined ? 'no sequence has a user there' : `the nearest user is "${near}"`;
  throw new UsageError(`${quote(whom)} is neither an address nor a user: ${nobody}`);
}
