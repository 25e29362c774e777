import { Connection } from '../netlink/connection.ts';
import { NETLINK_NETFILTER, NETLINK_SOCK_DIAG, openSocket } from '../netlink/socket.ts';
import { type Listener, readListeners } from './listeners.ts';
import { readSessions, type Session } from './sessions.ts';

/** The kernel as the loader needs it. */
export interface Access {
  readonly connection: Connection;
  /** The running TCP connections of this network namespace. */
  readonly sessions: () => Promise<readonly Session[]>;
}

/** Opens a connection to the kernel for as long as `use` takes. */
export async function withKernel<T>(use: (access: Access) => Promise<T>): Promise<T> {
  const connection = new Connection(openSocket(NETLINK_NETFILTER));
  try {
    return await use({ connection, sessions: () => diagnose(readSessions) });
  } finally {
    connection.close();
  }
}

/** What listens in this network namespace; needs no privileges. */
export function listeners(): Promise<readonly Listener[]> {
  return diagnose(readListeners);
}

/** Opens a socket of family NETLINK_SOCK_DIAG for as long as `read` takes; needs no privileges. */
export async function diagnose<T>(read: (diagnostics: Connection) => Promise<T>): Promise<T> {
  const diagnostics = new Connection(openSocket(NETLINK_SOCK_DIAG));
  try {
    return await read(diagnostics);
  } finally {
    diagnostics.close();
  }
}
