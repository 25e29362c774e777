import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ClientError } from './error.ts';

/**
 * Carries stdin to the connection and what comes from there to stdout, until both directions have ended; the end of
 * one is passed on, and the other goes on. Throws ClientError when the connection breaks before the other side has
 * ended it, and when stdin breaks.
 */
export async function pipeStandard(socket: Socket): Promise<void> {
  const { stdin, stdout } = process;
  try {
    await new Promise<void>((resolve, reject) => {
      stdin.once('error', ({ code }: NodeJS.ErrnoException) =>
        reject(new ClientError(`stdin cannot be read any more (${code}): connect again`)),
      );
      socket.once('error', ({ code }: NodeJS.ErrnoException) => {
        if (!socket.readableEnded) reject(new ClientError(`the connection broke (${code}): connect again`));
      });
      socket.once('close', resolve);
      // who reads from stdout has to see the end, but Node.js never closes it; its `end` would shut a socket down for
      // all that have it, such as the shell that started us
      socket.once('end', () => stdout.write('', () => closeSync(stdout.fd)));
      stdin.pipe(socket);
      socket.pipe(stdout);
    });
  } finally {
    socket.destroy();
    stdin.destroy();
  }
}
