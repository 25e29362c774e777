import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem } from '../config/problems.ts';
import { writeState } from './files.ts';
import { isHostsNetwork } from './network.ts';

const STATE_FOLDER = '/var/lib/knockd-nft';

/** The state folder that systemd names. Without one it is the usual one, but only in the host's network. */
export function stateFolder({ STATE_DIRECTORY }: NodeJS.ProcessEnv): string | undefined {
  return STATE_DIRECTORY?.split(':')[0] || (isHostsNetwork() ? STATE_FOLDER : undefined);
}

/** The path of the last configuration that was loaded, kept for a boot with a bad one; undefined if there is no folder for it. */
export function lastGoodPath(env: NodeJS.ProcessEnv): string | undefined {
  const folder = stateFolder(env);
  return folder && (env.STATE_DIRECTORY || existsSync(folder)) ? join(folder, 'last-good.json') : undefined;
}

/**
 * Keeps a configuration that was loaded, whole or not at all, with no right to read for other users. If that is
 * impossible, the load still stands, and the result is a warning.
 */
export function keepLastGood(path: string, content: string | Uint8Array): readonly Problem[] {
  try {
    writeState(path, content);
    return [];
  } catch (error) {
    const message = `the configuration cannot be kept for a boot with a bad one: ${error instanceof Error ? error.message : error}`;
    return [{ severity: 'warning', file: path, line: null, column: null, message }];
  }
}
