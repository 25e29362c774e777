import { statSync } from 'node:fs';
import { ConfigError } from '../config/problems.ts';
import { readConfig } from '../config/read.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { compile } from '../ruleset/compile.ts';
import { VERSION } from '../version.ts';

/** The configuration, compiled; undefined where it cannot be used, of which `tell` is told why. */
export function readWanted(
  path: string,
  env: NodeJS.ProcessEnv,
  tell: (why: string) => void,
): Ruleset | undefined {
  try {
    return compile(readConfig(path, env).config, VERSION);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    tell(error.message);
    return undefined;
  }
}

/** The same, to be asked again and again: the file is read only where it is another one than before. */
export function wantedReader(
  path: string,
  env: NodeJS.ProcessEnv,
  tell: (why: string) => void,
): () => Ruleset | undefined {
  let known: { readonly file: string; readonly wanted: Ruleset | undefined } | undefined;
  return () => {
    const file = fileNow(path);
    if (known?.file !== file) known = { file, wanted: readWanted(path, env, tell) };
    return known.wanted;
  };
}

/** What tells a file from what it was. */
function fileNow(path: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return [dev, ino, size, mtimeMs, ctimeMs].join();
  } catch {
    return ''; // reading it tells why
  }
}
