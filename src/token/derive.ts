// token/ has one-time tokens as docs/protocol.md says: how they are derived, and the datagram that carries one.
// Both sides import it, so it knows neither files nor sockets.
// Floor 1: it imports only from rooms on lower floors.

/** One-time tokens as in docs/protocol.md. The kernel's side and the client's derive the same ones. Pure functions. */
import { createHmac } from 'node:crypto';

/** How long a token's window is, in seconds. */
const WINDOW = 60;

/** How many windows ahead a client may go, in case its clock is behind the server's. The server has tokens for these. */
export const AHEAD = 2;

/** The realm of hosts whose file names none. */
export const DEFAULT_REALM = 'default';

/** The service that a token opens, and its secret of 32 bytes. */
export interface TokenKey {
  readonly secret: Uint8Array;
  /** Hosts that share secrets have different realms. */
  readonly realm: string;
  readonly service: string;
}

/** The number of the window at a time in milliseconds of the epoch. */
export function windowAt(milliseconds: number): number {
  return Math.floor(milliseconds / 1000 / WINDOW);
}

/** The milliseconds of the epoch at which a window begins. */
export function beginOf(window: number): number {
  return window * WINDOW * 1000;
}

/** The token: 32 hexadecimal digits, lower case. */
export function deriveToken({ secret, realm, service }: TokenKey, window: number): string {
  return createHmac('sha256', secret)
    .update(`knockd-nft/1 ${realm} ${service} ${window}`)
    .digest('hex')
    .slice(0, 32);
}
