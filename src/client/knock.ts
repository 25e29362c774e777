import { createSocket } from 'node:dgram';
import { createConnection } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Port } from '../config/types.ts';

/** Milliseconds between two knocks, so that no network brings them in another order. */
const GAP = 100;

/**
 * Knocks on the ports of `address`, an IPv4 or IPv6 address, in order, with `gap` milliseconds between two: one SYN or
 * one empty datagram each, never sent again. What the other side answers does not matter.
 */
export async function knock(address: string, knocks: readonly Port[], gap = GAP): Promise<void> {
  for (const [index, { protocol, port }] of knocks.entries()) {
    if (index > 0) await delay(gap);
    await (protocol === 'tcp' ? sendSyn(address, port) : sendDatagram(address, port));
  }
}

/** A connection that is begun and given up at once: the kernel has sent the SYN and will not repeat it. */
function sendSyn(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.syscall === 'connect' && LEFT.has(error.code ?? '')) resolve();
      else reject(error);
    });
    // Node connects to an address in the next tick, which comes before this
    setImmediate(() => {
      if (socket.errored) return;
      socket.destroy();
      resolve();
    });
  });
}

/** Errors that answer a SYN: it was sent. */
const LEFT: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET']);

async function sendDatagram(address: string, port: number): Promise<void> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.send(Buffer.alloc(0), port, address, error => (error ? reject(error) : resolve()));
    });
  } finally {
    socket.close();
  }
}
