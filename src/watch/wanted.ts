import { statSync } from 'node:fs';
import type { ReadConfig } from '../config/parse.ts';
import { ConfigError, formatProblem } from '../config/problems.ts';
import type { Config } from '../config/types.ts';
import { readAnswering, refuseSilent } from '../host/answering.ts';

/** The configuration; undefined if it cannot be used. Then `tell` gets the reasons. */
export async function readUsable(
  path: string,
  env: NodeJS.ProcessEnv,
  tell: (why: readonly string[]) => void,
): Promise<ReadConfig | undefined> {
  try {
    return await readAnswering(path, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    tell(error.problems.map(formatProblem));
    return undefined;
  }
}

/** The same, to be asked again and again. Reads the file only if it has changed. */
export function wantedReader(
  path: string,
  env: NodeJS.ProcessEnv,
  tell: (why: readonly string[]) => void,
): () => Promise<Config | undefined> {
  let known: { readonly file: string; readonly wanted: Config | undefined } | undefined;
  return async () => {
    const file = await fileNow(path);
    if (known?.file !== file) known = { file, wanted: (await readUsable(path, env, tell))?.config };
    return known.wanted;
  };
}

/** Distinguishes states of a file. */
async function fileNow(path: string): Promise<string> {
  try {
    await refuseSilent(path);
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return [dev, ino, size, mtimeMs, ctimeMs].join();
  } catch {
    return ''; // reading it shows why
  }
}
