import { readdirSync } from 'node:fs';
import { diagnose, listeners } from '../host/access.ts';
import type { Listener } from '../host/listeners.ts';
import { sshConnection } from '../host/login.ts';
import { readEphemeral, readOr, socketsOf } from '../host/proc.ts';
import { listSockets } from '../host/sockets.ts';
import { readWellKnown } from '../host/well-known.ts';
import { TCP_STATE } from '../netlink/inet-diag.ts';

/** The host that a configuration has to fit. */
export interface Host {
  readonly listeners: readonly Listener[];
  /** The names of the programs that hold sockets, by inode. Without root these are only the user's own. */
  readonly programs: ReadonlyMap<number, string>;
  /** Names of well-known ports: `22/tcp` is `ssh`. */
  readonly wellKnown: ReadonlyMap<string, string>;
  /** The range of ports for outgoing connections, both ends included. */
  readonly ephemeral: { readonly first: number; readonly last: number };
  readonly login: Login | undefined;
}

/** The ssh connection of this login, while it stands. Addresses have 4 or 16 bytes. */
export interface Login {
  readonly from: Buffer;
  readonly to: Buffer;
  /** The port that sshd listens on. */
  readonly port: number;
}

/** Looks at this host and network namespace. Needs no privileges. */
export async function readHost(env: NodeJS.ProcessEnv): Promise<Host> {
  return {
    listeners: await listeners(),
    programs: readPrograms(),
    wellKnown: readWellKnown().nameOf,
    ephemeral: readEphemeral(),
    login: await readLogin(env),
  };
}

/** Variables outlive connections: in a tmux, they may hold an address that another host has by now. */
async function readLogin(env: NodeJS.ProcessEnv): Promise<Login | undefined> {
  const told = sshConnection(env);
  if (!told) return undefined;
  const sockets = await diagnose(it => listSockets(it, 'tcp', 1 << TCP_STATE.ESTABLISHED));
  const { peer, peerPort, port } = told;
  const socket = sockets.find(it => it.port === port && it.peerPort === peerPort && it.peer.equals(peer));
  return socket && { from: socket.peer, to: socket.address, port };
}

/** If several processes hold a socket, the first one names it. systemd does not count, because it opens sockets for others. */
function readPrograms(): ReadonlyMap<number, string> {
  const programs = new Map<number, string>();
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name));
  for (const pid of pids.sort((a, b) => Number(a) - Number(b))) {
    const name = readOr(`/proc/${pid}/comm`, '').trimEnd();
    for (const inode of socketsOf(Number(pid)) ?? [])
      if ((programs.get(inode) ?? 'systemd') === 'systemd') programs.set(inode, name);
  }
  return programs;
}
