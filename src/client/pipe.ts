import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ClientError } from './error.ts';

/**
 * Carries stdin to the connection and the connection's data to stdout, until both directions have ended. It passes the end of
 * one direction on, and the other goes on. Throws ClientError if the connection breaks before the peer has ended it, and if
 * stdin breaks.
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
      // the reader of stdout must see the end, but Node.js never closes stdout; its `end` would shut a socket down for
      // all processes that have it, such as the shell that started us
      socket.once('end', () => stdout.write('', () => closeSync(stdout.fd)));
      stdin.pipe(socket);
      socket.pipe(stdout);
    });
  } finally {
    socket.destroy();
    stdin.destroy();
  }
}
