/** The client's side of the demo: a process in a network namespace of its own, which gets its orders as JSON lines. */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { knock, sendDatagram } from '../client/knock.ts';
import type { Port } from '../inet/port.ts';
import { tokenDatagram } from '../token/packet.ts';
import { answerCalls } from './calls.ts';

/** Milliseconds between two knocks. The wire is short. */
const GAP = 100;

/** The result of a connection: open, refused, or no answer for as long as the caller waited. */
type Reach = 'open' | 'refused' | 'silent';

interface Visit {
  readonly reach: Reach;
  /** The first words of the service; empty unless open. */
  readonly greeting: string;
}

interface VisitOptions {
  readonly address: string;
  readonly port: number;
  /** How long to wait before it counts as silent, in milliseconds. */
  readonly patience: number;
  /** Keep the connection, for `say`. */
  readonly stay?: boolean;
}

export interface Calls {
  /** A batch for `ip`. */
  readonly configure: [{ readonly batch: string }, null];
  readonly visit: [VisitOptions, Visit];
  /** Sends a text on the connection that stayed, and returns what came back within `patience`. */
  readonly say: [{ readonly text: string; readonly patience: number }, string];
  readonly knock: [{ readonly address: string; readonly knocks: readonly Port[] }, null];
  readonly token: [{ readonly address: string; readonly port: Port; readonly token: string }, null];
}

/** Runs `ip` with a batch of commands. Throws an error with its messages. */
export function configure(batch: string): void {
  const { status, stderr, error } = spawnSync('ip', ['-batch', '-'], { input: batch, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`ip: ${stderr.trim()}`);
}

/** The client's process. It does what stdin says until stdin ends, and so ends with the process that started it. */
export async function playClient(): Promise<void> {
  const stayed: Socket[] = [];
  const lines = answerCalls<Calls>({
    configure: async ({ batch }) => {
      configure(batch);
      return null;
    },
    visit: options => visit(options, stayed),
    say: async ({ text, patience }) => {
      const [socket] = stayed;
      if (!socket) return '';
      socket.write(text);
      return firstWords(socket, patience);
    },
    knock: async ({ address, knocks }) => {
      await knock(address, knocks, GAP);
      return null;
    },
    token: async ({ address, port, token }) => {
      await sendDatagram(address, port.port, tokenDatagram(token));
      return null;
    },
  });
  await once(lines, 'close');
  for (const socket of stayed) socket.destroy();
}

async function visit({ address, port, patience, stay }: VisitOptions, stayed: Socket[]): Promise<Visit> {
  const socket = createConnection({ host: address, port });
  const reach = await new Promise<Reach>(resolve => {
    // an answer that came while this process had no processor counts: it is read before the immediate
    const timer = setTimeout(() => setImmediate(resolve, 'silent'), patience);
    const settle = (reach: Reach) => {
      clearTimeout(timer);
      resolve(reach);
    };
    socket.once('connect', () => settle('open'));
    socket.on('error', ({ code }: NodeJS.ErrnoException) =>
      settle(code === 'ECONNREFUSED' ? 'refused' : 'silent'),
    );
  });
  const greeting = reach === 'open' ? await firstWords(socket, patience) : '';
  if (stay && reach === 'open') stayed.push(socket);
  else socket.destroy();
  return { reach, greeting };
}

/** The first data; '' if none comes. */
async function firstWords(socket: Socket, patience: number): Promise<string> {
  try {
    const [data] = await once(socket, 'data', { signal: AbortSignal.timeout(patience) });
    return String(data).trim();
  } catch {
    return '';
  }
}
