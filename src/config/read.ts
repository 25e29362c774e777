import type { Stats } from 'node:fs';
import { decode, formatMode, othersMay, readBytes, tellOwner } from './file.ts';
import { type ReadConfig, understand } from './parse.ts';
import { Report } from './report.ts';

export const DEFAULT_PATH = '/etc/knockd-nft.json';

/** The path from `option` (`--config`), else from the variable, else the usual one. */
export function configPath(option: string | undefined, env: NodeJS.ProcessEnv): string {
  return option ?? (env.KNOCKD_NFT_CONFIG || DEFAULT_PATH);
}

/**
 * Reads, checks and understands the file. Throws {@link ConfigError} with all that is wrong. Problems of the file itself come
 * first: a user who can write it can open every service. `bytes` is what was read.
 */
export function readConfig(path: string, env: NodeJS.ProcessEnv): ReadConfig & { readonly bytes: Buffer } {
  const { stats, bytes } = readBytes(path, 'a configuration, which "knockd-nft init" writes');
  const report = new Report(path);
  tellPermissions(stats, report);
  return { ...understand(decode(bytes), path, env, report.problems), bytes };
}

function tellPermissions(stats: Stats, report: Report): void {
  const mode = formatMode(stats);
  if (othersMay(stats, 0o022))
    report.error(
      null,
      `users other than its owner may write the file (mode ${mode}); expected 0600: chmod go-w`,
    );
  tellOwner(stats, report);
  if (othersMay(stats, 0o004)) {
    report.warning(
      null,
      `every user may read the file with its sequences (mode ${mode}); chmod o-r prevents that`,
    );
  }
}
