// host/ is this machine: processes, clock, locks, files, logins, listeners, interfaces, running connections.
// The notes that outlive a process, such as a hold, are here, too.
// Floor 3: it imports only from rooms on lower floors.

import { Connection } from '../netlink/connection.ts';
import { NETLINK_NETFILTER, NETLINK_SOCK_DIAG, openSocket } from '../netlink/socket.ts';
import { type Listener, readListeners } from './listeners.ts';
import { readSessions, type Session } from './sessions.ts';

/** The kernel, as the loader needs it. */
export interface Access {
  readonly connection: Connection;
  /** The running TCP connections of this network namespace. */
  readonly sessions: () => Promise<readonly Session[]>;
}

/** Opens a connection to the kernel for as long as `use` takes. */
export function withKernel<T>(use: (access: Access) => Promise<T>): Promise<T> {
  return withConnection(NETLINK_NETFILTER, connection =>
    use({ connection, sessions: () => diagnose(readSessions) }),
  );
}

/** The sockets that wait for clients in this network namespace. Needs no privileges. */
export function listeners(): Promise<readonly Listener[]> {
  return diagnose(readListeners);
}

/** Opens a socket of family NETLINK_SOCK_DIAG for as long as `use` takes. Reading needs no privileges. */
export function diagnose<T>(use: (diagnostics: Connection) => Promise<T>): Promise<T> {
  return withConnection(NETLINK_SOCK_DIAG, use);
}

/** Opens a connection to any part of the kernel, by its netlink family, for as long as `use` takes. */
export async function withConnection<T>(
  family: number,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = new Connection(openSocket(family));
  try {
    return await use(connection);
  } finally {
    connection.close();
  }
}
