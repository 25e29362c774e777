import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem } from '../config/problems.ts';
import { writeState } from './files.ts';
import { isHostsNetwork } from './network.ts';

const STATE_FOLDER = '/var/lib/knockd-nft';

/** The folder that systemd keeps for the service; by hand the same one, but not for other networks than the host's. */
export function stateFolder({ STATE_DIRECTORY }: NodeJS.ProcessEnv): string | undefined {
  return STATE_DIRECTORY?.split(':')[0] || (isHostsNetwork() ? STATE_FOLDER : undefined);
}

/** Where the last configuration that was loaded is kept, for a boot with a bad one; undefined where nobody asked for that. */
export function lastGoodPath(env: NodeJS.ProcessEnv): string | undefined {
  const folder = stateFolder(env);
  return folder && (env.STATE_DIRECTORY || existsSync(folder)) ? join(folder, 'last-good.json') : undefined;
}

/**
 * Keeps a configuration that was loaded: whole or not at all, and for nobody else to read. Where that cannot be, the load
 * stands all the same, and the warning is returned.
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
