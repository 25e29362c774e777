import { listedSockets } from '../host/sockets.ts';
import { TCP_STATE } from '../netlink/inet-diag.ts';
/** The server's side of the demo: the hidden services, other listeners, and a program that interferes. */

import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { withKernel } from '../host/access.ts';
import type { Port } from '../inet/port.ts';
import { unload } from '../table/load.ts';
import { Writer } from '../table/writer.ts';

/** A TCP service on all addresses, for as long as `use` takes. It greets, and then repeats what it hears. */
export async function serve(port: number, greeting: string, use: () => Promise<void>): Promise<void> {
  const guests = new Set<Socket>();
  const server = createServer(socket => {
    guests.add(socket);
    socket.on('error', () => {}).write(greeting);
    socket.pipe(socket);
  });
  server.listen(port);
  await once(server, 'listening');
  try {
    await use();
  } finally {
    server.close();
    for (const guest of guests) guest.destroy();
  }
}

export function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

/** Does what another program does that clears the ruleset. Returns how many tables it removed. */
export function removeTables(): Promise<number> {
  return withKernel(({ connection }) => unload(new Writer(connection)));
}

/** The ports of this network namespace on which a program listens, sorted. */
export function listeners(): Port[] {
  const ports = (['tcp', 'udp'] as const).flatMap(protocol =>
    listedSockets(protocol)
      .filter(({ state }) => protocol === 'udp' || state === TCP_STATE.LISTEN)
      .map(({ port }) => `${port}/${protocol}`),
  );
  return [...new Set(ports)].toSorted().map(text => {
    const [port, protocol] = text.split('/');
    return { protocol: protocol === 'udp' ? 'udp' : 'tcp', port: Number(port) };
  });
}

/** How many sockets see packets that are not for them, like those of libpcap, which knockd uses. */
export function sniffers(): number {
  return ['packet', 'raw', 'raw6'].flatMap(sockets).length;
}

/** The lines of a table in /proc/net, as words. */
function sockets(table: string): string[][] {
  const path = `/proc/net/${table}`;
  if (!existsSync(path)) return [];
  const [, ...lines] = readFileSync(path, 'utf8').trim().split('\n');
  return lines.map(line => line.trim().split(/\s+/));
}
