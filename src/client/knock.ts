import { createSocket } from 'node:dgram';
import { createConnection } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { bad, type Outcome } from '../inet/outcome.ts';
import { type Port, readPort } from '../inet/port.ts';
import { ClientError } from './error.ts';

/** Reads a knock from the command line: `10000`, `10000/tcp`, or `10000:tcp` as knockd's client has it. */
export function readKnock(word: string): Outcome<Port> {
  if (/^\d+$/.test(word)) return readPort(Number(word));
  const outcome = readPort(word.replace(':', '/'));
  return outcome.ok ? outcome : bad('is no port', outcome.expected);
}

/**
 * Knocks on the ports of `address`, an IPv4 or IPv6 address, in order, with `gap` milliseconds between two: one SYN or
 * one empty datagram each, never sent again. The answers do not matter. Rejects with the system's error if nothing could be
 * sent, and with an AbortError.
 */
export async function knock(
  address: string,
  knocks: readonly Port[],
  gap: number,
  signal?: AbortSignal,
): Promise<void> {
  for (const [index, { protocol, port }] of knocks.entries()) {
    if (index > 0) await delay(gap, undefined, { signal });
    await (protocol === 'tcp' ? sendSyn(address, port) : sendDatagram(address, port));
  }
}

/**
 * Like {@link knock}, on all `addresses` at the same time. Returns those that it could send to, because a name often has
 * addresses of both families while one family leads nowhere. Throws ClientError if it could send to none.
 */
export async function knockAll(
  addresses: readonly string[],
  knocks: readonly Port[],
  gap: number,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const results = await Promise.allSettled(addresses.map(address => knock(address, knocks, gap, signal)));
  const reached = addresses.filter((_, index) => results[index]?.status === 'fulfilled');
  const failed = results.find(result => result.status === 'rejected');
  if (reached.length > 0 || !failed) return reached;
  if (signal?.aborted) throw failed.reason;
  // the system's own message would name the port that was knocked on
  throw new ClientError(
    `nothing could be sent to ${addresses.join(' or ')} (${failed.reason.code}): check the network of this machine`,
  );
}

/** Begins a connection and gives it up at once. The kernel has then sent the SYN and will not repeat it. */
function sendSyn(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    socket.on('error', reject); // an event after the promise is settled is an answer
    // Node.js calls connect in the next tick; this is the tick after it, before anything is read from the network
    process.nextTick(() => {
      if (socket.destroyed) return; // the call failed, and its error is on the way
      socket.destroy();
      resolve();
    });
  });
}

/** Sends from a socket that is not connected, which reports no ICMP errors. */
export async function sendDatagram(address: string, port: number, data = ''): Promise<void> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.send(data, port, address, error => (error ? reject(error) : resolve()));
    });
  } finally {
    socket.close();
  }
}
