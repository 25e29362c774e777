import { withKernel } from '../host/access.ts';
import { isLinkLocal, isNoHost } from '../inet/address.ts';
import { formatDuration } from '../inet/duration.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { decompile } from '../ruleset/program.ts';
import { type Grant, type Granted, grant } from '../table/openings.ts';
import { Writer } from '../table/writer.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { readClient, readService } from './whom.ts';
import { readTime } from './words.ts';

interface Asked extends Grant {
  /** For people. */
  readonly client: string;
  readonly singleUse: boolean;
}

/** `grant`: lets a client in without a knock. The loaded table says how long, and how much of an address is a client. */
export async function grantCommand(
  context: Context,
  service: string,
  address: string,
  duration: string | undefined,
): Promise<number> {
  const openFor = duration === undefined ? undefined : readTime('--for', duration);
  const granted = await withKernel(({ connection }) =>
    grant(new Writer(connection), ruleset => ask(ruleset, service, address, openFor)),
  );
  if (context.json) context.print(JSON.stringify(result(granted)));
  else context.print(sentence(granted));
  return EXIT.DONE;
}

function ask(ruleset: Ruleset, word: string, address: string, time: number | undefined): Asked {
  const service = readService(word, ruleset);
  const program = decompile(ruleset).services.get(service);
  if (program?.ports.length === 0)
    throw new UsageError(
      `${service} has no ports: it is only an event, so there is nothing to let a client in to`,
    );
  const instead = 'to let a network in without a knock, put it into "allow" in the configuration';
  const client = readClient(address, ruleset, instead);
  if (isLinkLocal(client.key))
    throw new UsageError(
      `${client.client} is a link-local address, which another host has on another link: let in another address of that host, or put it into "allow" in the configuration`,
    );
  if (isNoHost(client.key))
    throw new UsageError(
      `${client.client} is no host's address: name one client; for everybody, remove ${service} from the configuration`,
    );
  const openFor = time ?? program?.openFor;
  if (openFor === undefined)
    throw new UsageError(`the loaded table does not say for how long: add --for, such as --for 10s`);
  return { service, ...client, openFor, singleUse: program?.singleUse ?? false };
}

type Done = Granted & { readonly asked: Asked };

function result({ asked: { service, client, openFor }, before, changed }: Done) {
  const expires = changed ? openFor : before;
  return {
    event: changed ? 'granted' : 'unchanged',
    service,
    client,
    openFor: openFor / 1000,
    expires: expires === null ? null : expires / 1000,
  };
}

function sentence({ asked: { service, client, openFor, singleUse }, before, changed }: Done): string {
  if (!changed)
    return `unchanged: ${service} is open to ${client} ${before === null ? 'for good' : `for ${roughly(before)}`} already`;
  const once = singleUse ? ', for one connection' : '';
  const had = before ? ` (it had ${roughly(before)} left)` : '';
  return `granted ${service} to ${client} for ${formatDuration(openFor)}${once}${had}`;
}

/** Without the milliseconds. */
function roughly(milliseconds: number): string {
  return formatDuration(Math.max(1, Math.round(milliseconds / 1000)) * 1000);
}
