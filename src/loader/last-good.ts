import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Problem } from '../config/problems.ts';

/** The folder that systemd keeps for the service, `/var/lib/knockd-nft`; undefined elsewhere. */
export function stateFolder({ STATE_DIRECTORY }: NodeJS.ProcessEnv): string | undefined {
  return STATE_DIRECTORY?.split(':')[0] || undefined;
}

/** Where the last configuration that was loaded is kept, for a boot with a bad one. */
export function lastGoodPath(env: NodeJS.ProcessEnv): string | undefined {
  const folder = stateFolder(env);
  return folder && join(folder, 'last-good.json');
}

/**
 * Keeps a configuration that was loaded: whole or not at all, and for nobody else to read. Where that cannot be, the load
 * stands all the same, and the warning is returned.
 */
export function keepLastGood(path: string, bytes: Uint8Array): readonly Problem[] {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, bytes, { mode: 0o600, flush: true });
    renameSync(temporary, path);
    return [];
  } catch (error) {
    const message = `the configuration cannot be kept for a boot with a bad one: ${error instanceof Error ? error.message : error}`;
    return [{ severity: 'warning', file: path, line: null, column: null, message }];
  }
}
