/** The server's side of the demo: the service that is hidden, the program itself, and who else listens there. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Port } from '../config/types.ts';
import { PART } from './stage.ts';

/** A TCP service on all addresses that greets and then says again what it hears, for as long as `use` takes. */
export async function withService(port: number, greeting: string, use: () => Promise<void>): Promise<void> {
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

/** How a command of this program ended. */
export interface Ended {
  readonly pid: number;
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Knockd = (...words: readonly string[]) => Promise<Ended>;

/**
 * Copies the configuration to a file of our own, with nobody else's rights (the one in a clone may be group-writable),
 * and hands `use` the program that reads it. The file has no name any more while it is used, so nothing stays behind.
 */
export async function withProgram<T>(text: string, use: (knockd: Knockd) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-demo-'));
  const file = join(folder, 'knockd-nft.json');
  writeFileSync(file, text, { mode: 0o600 });
  const descriptor = openSync(file, 'r');
  rmSync(folder, { recursive: true });
  try {
    return await use((...words) => runProgram(descriptor, words));
  } finally {
    closeSync(descriptor);
  }
}

function runProgram(config: number, words: readonly string[]): Promise<Ended> {
  const { [PART]: _, ...env } = process.env;
  const args = [process.argv[1] ?? '', '--config', '/proc/self/fd/3', ...words];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe', config] });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', text => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', status => resolve({ pid: child.pid ?? 0, status, stdout, stderr }));
  });
}

export function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

const TCP_LISTEN = '0A'; // include/net/tcp_states.h

/** The ports of this network namespace on which somebody listens, sorted. */
export function listeners(): Port[] {
  const ports = (['tcp', 'udp'] as const).flatMap(protocol =>
    ['', '6']
      .flatMap(family => sockets(`${protocol}${family}`))
      .filter(([, , , state]) => protocol === 'udp' || state === TCP_LISTEN)
      .map(([, address = '']) => Number.parseInt(address.split(':')[1] ?? '', 16))
      .map(port => `${port}/${protocol}`),
  );
  return [...new Set(ports)].toSorted().map(text => {
    const [port, protocol] = text.split('/');
    return { protocol: protocol === 'udp' ? 'udp' : 'tcp', port: Number(port) };
  });
}

/** How many sockets see packets that are not for them, as those of libpcap: what knockd works with. */
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
