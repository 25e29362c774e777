import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { readNetwork } from '../inet/network.ts';
import { networkOf, ownNetwork } from './network.ts';
import { parentOf, startOf } from './proc.ts';
import type { Session } from './sessions.ts';

/**
 * The ssh connection that this process was called over; undefined if there is none. sudo removes SSH_CONNECTION, so we also
 * look into the processes above: /proc has the environments that they started with.
 */
export function sshConnection(env: NodeJS.ProcessEnv): Session | undefined {
  return toldBy(env).find(({ session }) => session)?.session;
}

/**
 * When that login began, as `startOf` counts: with the first process of this network that has its SSH_CONNECTION. In a tmux or under
 * mosh, that process outlives the connection. Undefined if there is none.
 */
export function loginStart(env: NodeJS.ProcessEnv): number | undefined {
  const told = toldBy(env);
  const own = told.find(({ session }) => session)?.text;
  const first = own === undefined ? undefined : told.findLast(({ pid, text }) => text === own && isHere(pid));
  const start = first && startOf(first.pid);
  return start === undefined ? undefined : Number(start);
}

function isHere(pid: number): boolean {
  try {
    return networkOf(pid) === ownNetwork();
  } catch {
    return false; // it has ended, or we may not know
  }
}

/** SSH_CONNECTION of this process and of those above, from below. */
function toldBy(env: NodeJS.ProcessEnv) {
  const told: { readonly pid: number; readonly text: string; readonly session: Session | undefined }[] = [];
  for (let pid = process.pid, text = env.SSH_CONNECTION; ; pid = parentOf(pid), text = variableOf(pid)) {
    if (text !== undefined) told.push({ pid, text, session: readConnection(text) });
    if (pid <= 1) return told;
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
