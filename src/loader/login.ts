import { readFileSync } from 'node:fs';
import { readNetwork } from '../config/networks.ts';
import type { Session } from './sessions.ts';

/**
 * The connection of ssh that this process was called over, undefined where there is none. sudo takes SSH_CONNECTION away,
 * so the processes above are asked, too: their first environments are in /proc.
 */
export function sshConnection(env: NodeJS.ProcessEnv): Session | undefined {
  for (let pid = process.pid, own = env.SSH_CONNECTION; ; pid = parentOf(pid), own = variableOf(pid)) {
    const session = own === undefined ? undefined : readConnection(own);
    if (session) return session;
    if (pid <= 1) return undefined;
  }
}

/** `192.0.2.7 50000 192.0.2.1 22`: the peer, and then we. */
function readConnection(text: string): Session | undefined {
  const [address = '', peerPort, , port] = text.split(' ');
  const peer = readNetwork(address.replace(/%.*$/, '').replace(/^::ffff:(?=[\d.]+$)/i, ''));
  if (!peer.ok || !port) return undefined;
  return {
    family: peer.value.family,
    peer: Buffer.from(peer.value.address),
    peerPort: Number(peerPort),
    port: Number(port),
  };
}

function parentOf(pid: number): number {
  try {
    // the name in parentheses may contain anything
    const [, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(parent);
  } catch {
    return 0;
  }
}

function variableOf(pid: number): string | undefined {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return variables.find(line => line.startsWith('SSH_CONNECTION='))?.slice('SSH_CONNECTION='.length);
  } catch {
    return undefined;
  }
}
