/** One-time tokens as docs/protocol.md has them: the kernel's side and the client's derive the same ones. Pure. */
import { createHmac } from 'node:crypto';

/** Seconds for which a token is meant. */
export const WINDOW = 60;

/** Windows that a client may use before their time, for its clock may be behind the server's: the server has their tokens. */
export const AHEAD = 2;

/** What a token is for; the secret has 32 bytes. */
export interface TokenKey {
  readonly secret: Uint8Array;
  /** Hosts that share secrets have different ones. */
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

/** 32 hexadecimal digits, lower case. */
export function deriveToken({ secret, realm, service }: TokenKey, window: number): string {
  return createHmac('sha256', secret)
    .update(`knockd-nft/1 ${realm} ${service} ${window}`)
    .digest('hex')
    .slice(0, 32);
}
