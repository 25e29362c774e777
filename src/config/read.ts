import type { Stats } from 'node:fs';
import { decode, formatMode, othersMay, readBytes, tellOwner } from './file.ts';
import { type Asking, type ReadConfig, readWritten, understand, type Written } from './parse.ts';
import { Report } from './report.ts';

export const DEFAULT_PATH = '/etc/knockd-nft.json';

/** The path from `option` (`--config`), else from the variable, else the usual one. */
export function configPath(option: string | undefined, env: NodeJS.ProcessEnv): string {
  return option ?? (env.KNOCKD_NFT_CONFIG || DEFAULT_PATH);
}

/** A file of a configuration, as it is written, and what was read. */
interface WrittenFile extends Written {
  readonly bytes: Buffer;
}

/**
 * Reads the file itself, and not those of its secrets. Throws {@link ConfigError}. Problems of the file itself come first: a user
 * who can write it can open every service. `place` is the path that a candidate is for.
 */
export function readFile(path: string, place = path, asking: Asking = () => {}): WrittenFile {
  asking(path);
  const { stats, bytes } = readBytes(path, 'a configuration, which "knockd-nft init" writes');
  asking(undefined);
  const report = new Report(path);
  tellPermissions(stats, report);
  return { ...readWritten(decode(bytes), path, report.problems, place), bytes };
}

/** Reads, checks and understands the file. Throws {@link ConfigError} with all that is wrong. `bytes` is what was read. */
export function readConfig(
  path: string,
  env: NodeJS.ProcessEnv,
  asking?: Asking,
): ReadConfig & { readonly bytes: Buffer } {
  return understandFile(readFile(path, path, asking), env, asking);
}

/** The second step of {@link readConfig}, which reads the files of secrets. */
export function understandFile(
  file: WrittenFile,
  env: NodeJS.ProcessEnv,
  asking?: Asking,
): ReadConfig & { readonly bytes: Buffer } {
  return { ...understand(file, env, asking), bytes: file.bytes };
}

function tellPermissions(stats: Stats, report: Report): void {
  const mode = formatMode(stats);
  if (othersMay(stats, 0o022))
    report.error(
      null,
      `users other than its owner may write the file (mode ${mode}); expected a file that nobody else may write: chmod go-w`,
    );
  tellOwner(stats, report);
  if (othersMay(stats, 0o004)) {
    report.warning(
      null,
      `every user may read the file with its sequences (mode ${mode}); chmod o-r prevents that`,
    );
  }
}
