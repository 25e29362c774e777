/**
 * Runs on the client: reads visits as JSON from stdin, makes them one after the other, and prints how each went. A visit sends
 * the packets that open a port, and tries to connect as soon as the last one has left.
 */
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { PacketSender } from '../../test/kernel/libc.ts';
import { encodePacket } from '../../test/kernel/packet.ts';
import type { Knock } from './rival.ts';

export interface Visit {
  readonly to: string;
  readonly port: number;
  /** An address of this host. */
  readonly source: string;
  readonly knocks: readonly Knock[];
  /** Milliseconds between two knocks. */
  readonly gap: number;
  /** Milliseconds between two attempts to connect. 0 makes one attempt, and the kernel sends its SYN again after a second. */
  readonly every: number;
  /** Milliseconds after the last packet. */
  readonly patience: number;
}

export interface Visited {
  /** From the last packet to the first connection, in milliseconds; null if there was none. */
  readonly opened: number | null;
  /** Attempts that began before that one. */
  readonly failed: number;
}

const sender = new PacketSender();

async function knock({ to, source, knocks, gap }: Visit): Promise<void> {
  for (const [index, { port, payload }] of knocks.entries()) {
    if (index > 0) await delay(gap);
    const protocol = payload === undefined ? 'tcp' : 'udp';
    const sourcePort = 20_000 + Math.floor(Math.random() * 10_000);
    const packet = encodePacket({
      protocol,
      to,
      from: source,
      sourcePort,
      port,
      ...(payload !== undefined && { payload }),
    });
    sender.add(to, packet.length, (target, offset) => target.set(packet, offset));
    sender.flush();
  }
}

function connect({ to, port, source, every, patience }: Visit): Promise<Visited> {
  const start = performance.now();
  return new Promise(resolve => {
    const sockets: Socket[] = [];
    const settle = (result: Visited) => {
      clearTimeout(end);
      clearInterval(next);
      for (const socket of sockets) socket.resetAndDestroy();
      resolve(result);
    };
    const attempt = () => {
      const failed = sockets.length;
      const socket = createConnection({ host: to, port, localAddress: source });
      socket.once('connect', () => settle({ opened: performance.now() - start, failed }));
      socket.on('error', () => {}); // refused, or destroyed below
      sockets.push(socket);
    };
    const end = setTimeout(() => settle({ opened: null, failed: sockets.length }), patience);
    const next = every > 0 ? setInterval(attempt, every) : undefined;
    attempt();
  });
}

const visited: Visited[] = [];
for (const visit of JSON.parse(readFileSync(0, 'utf8')) as readonly Visit[]) {
  await knock(visit);
  visited.push(await connect(visit));
}
process.stdout.write(JSON.stringify(visited), () => process.exit());
