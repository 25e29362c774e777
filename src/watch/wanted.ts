import { statSync } from 'node:fs';
import { ConfigError, formatProblem } from '../config/problems.ts';
import { readConfig } from '../config/read.ts';
import type { Config } from '../config/types.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { compile } from '../ruleset/compile.ts';
import { VERSION } from '../version.ts';

/** The configuration; undefined if it cannot be used. Then `tell` gets the reasons. */
export function readUsable(
  path: string,
  env: NodeJS.ProcessEnv,
  tell: (why: readonly string[]) => void,
): Config | undefined {
  try {
    return readConfig(path, env).config;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    tell(error.problems.map(formatProblem));
    return undefined;
  }
}

/** The same compiled, to be asked again and again. Reads the file only if it has changed. */
export function wantedReader(
  path: string,
  env: NodeJS.ProcessEnv,
  tell: (why: readonly string[]) => void,
): () => Ruleset | undefined {
  let known: { readonly file: string; readonly wanted: Ruleset | undefined } | undefined;
  return () => {
    const file = fileNow(path);
    if (known?.file !== file) {
      const config = readUsable(path, env, tell);
      known = { file, wanted: config && compile(config, VERSION) };
    }
    return known.wanted;
  };
}

/** Tells one state of a file from another. */
function fileNow(path: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return [dev, ino, size, mtimeMs, ctimeMs].join();
  } catch {
    return ''; // reading it tells why
  }
}
