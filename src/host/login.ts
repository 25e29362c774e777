import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { readNetwork } from '../inet/network.ts';
import { parentOf } from './proc.ts';
import type { Session } from './sessions.ts';

/**
 * The ssh connection that this process was called over; undefined if there is none. sudo removes SSH_CONNECTION, so we also
 * look into the processes above: /proc has the environments that they started with.
 */
export function sshConnection(env: NodeJS.ProcessEnv): Session | undefined {
  for (let pid = process.pid, own = env.SSH_CONNECTION; ; pid = parentOf(pid), own = variableOf(pid)) {
    const session = own === undefined ? undefined : readConnection(own);
    if (session) return session;
    if (pid <= 1) return undefined;
  }
}

/** Whether the peer is this host, too. Such a connection passes no guard, so it proves nothing about the guards. */
export function isFromHere({ peer }: Session): boolean {
  const own = Object.values(networkInterfaces()).flatMap(addresses => addresses ?? []);
  return (
    (peer.length === 4 && peer[0] === 127) ||
    own.some(({ address }) => readAddress(address)?.peer.equals(peer))
  );
}

/** Reads `192.0.2.7 50000 192.0.2.1 22`: the peer first, then our end. */
function readConnection(text: string): Session | undefined {
  const [address = '', peerPort, , port] = text.split(' ');
  const peer = readAddress(address);
  return peer && port ? { ...peer, peerPort: Number(peerPort), port: Number(port) } : undefined;
}

/** An address in the form that sockets have it: without a zone, and as IPv4 if it is mapped. */
function readAddress(text: string): Pick<Session, 'family' | 'peer'> | undefined {
  const read = readNetwork(text.replace(/%.*$/, '').replace(/^::ffff:(?=[\d.]+$)/i, ''));
  return read.ok ? { family: read.value.family, peer: Buffer.from(read.value.address) } : undefined;
}

function variableOf(pid: number): string | undefined {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return variables.find(line => line.startsWith('SSH_CONNECTION='))?.slice('SSH_CONNECTION='.length);
  } catch {
    return undefined;
  }
}
