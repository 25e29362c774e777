import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeWhole } from '../host/files.ts';
import { AHEAD, beginOf, type TokenKey, windowAt } from '../token/derive.ts';
import { stateFolder } from './folders.ts';

export type Way = 'udp' | 'payload';

/** A device's record of its tokens for one service. */
export interface Used {
  /** The last window whose token was sent. */
  readonly window: number;
  /** How and where a token last opened the port. */
  readonly way?: Way;
  readonly address?: string;
}

/** A name that tells devices and services apart, and reveals nothing of the secret. */
export function idOf({ secret, realm, service }: TokenKey): string {
  return createHash('sha256').update(secret).update(` ${realm} ${service}`).digest('hex').slice(0, 16);
}

/** The state file of one device and service. Only a process that has the turn at its {@link idOf} may write it. */
export class UsedFile {
  readonly path: string;

  constructor(env: NodeJS.ProcessEnv, key: TokenKey) {
    this.path = join(stateFolder(env), `token-${idOf(key)}.json`);
  }

  /** The content; empty if there is no file, or one that makes no sense. */
  read(): Partial<Used> {
    try {
      const { window, way, address } = JSON.parse(readFileSync(this.path, 'utf8')) as Partial<Used>;
      return {
        ...(Number.isSafeInteger(window) && { window }),
        ...((way === 'udp' || way === 'payload') && { way }),
        ...(typeof address === 'string' && { address }),
      };
    } catch {
      return {};
    }
  }

  /** Writes the file. Throws the system's error. */
  write(used: Used): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
    writeWhole(this.path, `${JSON.stringify(used)}\n`, { mode: 0o600 });
  }
}

/**
 * The window of the next token, at a time in milliseconds of the epoch, and when the token may be sent: at once, or later if
 * those that may be used ahead of time are used up. A window further ahead was used before the clock was set back.
 */
export function nextWindow(
  last: number | undefined,
  now: number,
): { readonly window: number; readonly from: number } {
  const current = windowAt(now);
  const behind = last === undefined || last < current || last > current + AHEAD + 1;
  const window = behind ? current : last + 1;
  return { window, from: Math.max(now, beginOf(window - AHEAD)) };
}
