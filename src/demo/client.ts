// demo/ is what `npm start` shows: a server, a client and an attacker in namespaces of their own.
// It uses the program as any user does.
// Floor 7: it imports only from rooms on lower floors.

/** The client's side of the demo: a process in a network namespace of its own, which gets its orders as JSON lines. */

import { type ChildProcessWithoutNullStreams, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { knock, sendDatagram } from '../client/knock.ts';
import type { Port } from '../inet/port.ts';
import { tokenDatagram } from '../token/packet.ts';

/** Milliseconds between two knocks. The wire is short. */
const GAP = 100;

/** The result of a connection: open, refused, or no answer for as long as the caller waited. */
export type Reach = 'open' | 'refused' | 'silent';

export interface Visit {
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

interface Calls {
  /** A batch for `ip`. */
  readonly configure: [{ readonly batch: string }, null];
  readonly visit: [VisitOptions, Visit];
  /** Sends a text on the connection that stayed, and returns what came back within `patience`. */
  readonly say: [{ readonly text: string; readonly patience: number }, string];
  readonly knock: [{ readonly address: string; readonly knocks: readonly Port[] }, null];
  readonly token: [{ readonly address: string; readonly port: Port; readonly token: string }, null];
}

type Handlers = { readonly [Name in keyof Calls]: (of: Calls[Name][0]) => Promise<Calls[Name][1]> };

interface Request {
  readonly id: number;
  readonly call: keyof Calls;
  readonly parameters: never;
}

type Reply = { readonly id: number } & ({ readonly result: unknown } | { readonly error: string });

/** Runs `ip` with a batch of commands. Throws an error with its messages. */
export function configure(batch: string): void {
  const { status, stderr, error } = spawnSync('ip', ['-batch', '-'], { input: batch, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`ip: ${stderr.trim()}`);
}

/** The client's process. It does what stdin says until stdin ends, and so ends with the process that started it. */
export async function playClient(): Promise<void> {
  const stayed: Socket[] = [];
  const handlers: Handlers = {
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
  };
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async line => {
    const { id, call, parameters } = JSON.parse(line) as Request;
    const reply: Reply = await handlers[call](parameters).then(
      result => ({ id, result }),
      error => ({ id, error: `${call}: ${error instanceof Error ? error.message : String(error)}` }),
    );
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  });
  await once(lines, 'close');
  for (const socket of stayed) socket.destroy();
}

async function visit({ address, port, patience, stay }: VisitOptions, stayed: Socket[]): Promise<Visit> {
  const socket = createConnection({ host: address, port });
  const reach = await new Promise<Reach>(resolve => {
    const timer = setTimeout(resolve, patience, 'silent');
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

/** The client, as the narrator uses it. */
export interface Client {
  /** Sends a request and waits for its answer. */
  readonly ask: <Name extends keyof Calls>(call: Name, of: Calls[Name][0]) => Promise<Calls[Name][1]>;
  readonly end: () => void;
}

/** Talks to {@link playClient} in the process `child`. */
export function clientIn(child: ChildProcessWithoutNullStreams): Client {
  const waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  let last = 0;
  let errors = '';
  let ended: Error | undefined;
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  child.stdin.on('error', () => {}); // its end is reported below
  createInterface({ input: child.stdout }).on('line', line => {
    const reply = JSON.parse(line) as Reply;
    const asked = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) asked?.reject(new Error(`client: ${reply.error}`));
    else asked?.resolve(reply.result as never);
  });
  const onEnd = (why: string) => {
    ended = new Error(`the client's process ended: ${why}`);
    for (const { reject } of waiting.values()) reject(ended);
  };
  child.once('error', error => onEnd(error.message));
  child.once('close', () => onEnd(errors.trim()));
  return {
    ask: (call, parameters) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        const id = ++last;
        waiting.set(id, { resolve, reject });
        child.stdin.write(`${JSON.stringify({ id, call, parameters })}\n`);
      }),
    end: () => child.stdin.end(),
  };
}
