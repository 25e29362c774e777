import { formatProblem } from '../config/problems.ts';
import { configPath } from '../config/read.ts';
import { readAnswering } from '../host/answering.ts';
import type { Context } from './context.ts';

/** Reads the configuration and prints its warnings. `file` comes before `--config`; `place` is what it is for. Throws ConfigError. */
export async function readConfiguration({ config, env, tell }: Context, file?: string, place?: string) {
  const path = file ?? configPath(config, env);
  const read = await readAnswering(path, env, place);
  for (const warning of read.warnings) tell(formatProblem(warning));
  return { ...read, path };
}
