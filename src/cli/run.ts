import { configPath } from '../config/read.ts';
import { Supervisor } from '../supervisor/supervisor.ts';
import type { Context } from './context.ts';

/** `run`: the supervisor in the foreground, until it is told to stop. */
export async function runCommand({ config, env }: Context): Promise<number> {
  return new Supervisor(configPath(config, env), env).run();
}
