/** Readers of the supervisor's stream. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Told } from '../../src/events/event.ts';

export const socketIn = ({ RUNTIME_DIRECTORY = '' }: Readonly<Record<string, string>>) =>
  join(RUNTIME_DIRECTORY, 'events');

export interface Reader {
  readonly socket: Socket;
  /** The first line. */
  readonly snapshot: Readonly<Record<string, unknown>>;
  /** All later lines so far. */
  readonly told: () => readonly Told[];
  /** Resolves with the first one like this, which may have come already. */
  readonly find: (wanted: (told: Told) => boolean) => Promise<Told>;
  /** Resolves when the supervisor has ended the connection. */
  readonly ended: Promise<unknown>;
}

export async function read(path: string): Promise<Reader> {
  const socket = connect(path).on('error', () => {});
  const ended = once(socket, 'close');
  const lines = createInterface({ input: socket });
  const told: Told[] = [];
  const [first] = (await Promise.race([once(lines, 'line'), ended])) as unknown[];
  if (typeof first !== 'string') throw new Error('no line came');
  lines.on('line', line => {
    told.push(JSON.parse(line) as Told);
    lines.emit('told');
  });
  return {
    socket,
    snapshot: JSON.parse(first) as Record<string, unknown>,
    told: () => told,
    ended,
    async find(wanted) {
      for (;;) {
        const found = told.find(wanted);
        if (found) return found;
        if (socket.destroyed) throw new Error(`it never came; these did: ${JSON.stringify(told)}`);
        await Promise.race([once(lines, 'told'), ended]);
      }
    },
  };
}
