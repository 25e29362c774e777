import type { Destination, Door, Patience } from '../client/door.ts';
import { knockOnce } from '../client/knocking.ts';
import { resolveHost } from '../client/resolve.ts';
import { sendToken } from '../client/spending.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { adviceFor, openTarget, readTarget, readTcpPort, readTimeout, type Target } from './target.ts';

interface KnockOptions {
  readonly gap?: string | undefined;
  /** True if no word follows. Then it is the port of the file. */
  readonly wait?: string | true | undefined;
  readonly timeout?: string | undefined;
}

/** The result, printed as a sentence or as JSON. */
interface Knocked {
  readonly addresses: readonly string[];
  /** The address and port that accepted a connection; null without `--wait`. */
  readonly open: { readonly address: string; readonly port: number } | null;
  /** How often the sequence was knocked. */
  readonly rounds: number;
  /** From the first knock to the last, or to the connection. */
  readonly seconds: number;
}

/** `knock`: from the client's side, without privileges. */
export async function knockCommand(
  context: Context,
  [name = '', ...words]: readonly string[],
  { gap, wait, timeout }: KnockOptions,
): Promise<number> {
  const target = readTarget(context, name, words, { gap });
  if (target.key.kind === 'unknown') throw new UsageError(adviceFor(context, name, target));
  const port = wait === undefined ? undefined : waitPort(name, wait, target);
  const limit = readTimeout(timeout);
  const addresses = await resolveHost(target.host);
  const door = { ...target, name, addresses, advice: adviceFor(context, name, target) };
  const patience = { timeout: limit, tryFirst: false, tell: context.tell, env: context.env };
  const start = performance.now();
  const done =
    port === undefined
      ? { addresses: await once(door, patience), open: null, rounds: 1 }
      : await knockAndWait({ ...door, port }, patience);
  const knocked = { ...done, seconds: Number(((performance.now() - start) / 1000).toFixed(2)) };
  context.print(context.json ? JSON.stringify(knocked) : sentence(knocked));
  return EXIT.DONE;
}

function waitPort(name: string, wait: string | true, { port }: Target): number {
  if (wait !== true) return readTcpPort(wait, '--wait');
  if (port !== undefined) return port;
  throw new UsageError(`--wait: no port is known for ${name}: add it, as in --wait 22`);
}

/** Knocks once, and returns the addresses that it knocked on. */
async function once({ key, ...to }: Destination, patience: Patience): Promise<readonly string[]> {
  switch (key.kind) {
    case 'knocks':
      return knockOnce({ ...to, key }, patience);
    case 'token':
      return [await sendToken({ ...to, key }, patience)];
    case 'unknown':
      return [];
  }
}

async function knockAndWait(door: Door, patience: Patience): Promise<Omit<Knocked, 'seconds'>> {
  const { socket, rounds } = await openTarget(door, patience);
  const { remoteAddress: address = '' } = socket;
  socket.destroy();
  return { addresses: door.addresses, open: { address, port: door.port }, rounds };
}

function sentence({ addresses, open, rounds, seconds }: Knocked): string {
  const time = `${seconds.toFixed(1)} s`;
  if (!open) return `knocked on ${addresses.join(' and ')} in ${time}`;
  return `${open.address} port ${open.port} is open after ${time}${rounds > 1 ? `, knocked ${rounds} times` : ''}`;
}
