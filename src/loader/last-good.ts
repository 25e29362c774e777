import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The folder that systemd keeps for the service, `/var/lib/knockd-nft`; undefined elsewhere. */
export function stateFolder({ STATE_DIRECTORY }: NodeJS.ProcessEnv): string | undefined {
  return STATE_DIRECTORY?.split(':')[0] || undefined;
}

/** Where the last configuration that was loaded is kept, for a boot with a bad one. */
export function lastGoodPath(env: NodeJS.ProcessEnv): string | undefined {
  const folder = stateFolder(env);
  return folder && join(folder, 'last-good.json');
}

/** Keeps a configuration that was loaded: whole or not at all, and for nobody else to read. */
export function keepLastGood(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  writeFileSync(temporary, bytes, { mode: 0o600, flush: true });
  renameSync(temporary, path);
}
