import { configPath } from '../config/read.ts';
import { Supervisor } from '../supervisor/supervisor.ts';
import type { Context } from './context.ts';

/** How long the last lines of the journal may take, in milliseconds. */
const LAST_LINES = 1000;

/** `run`: the supervisor in the foreground, until a signal stops it. */
export async function runCommand({ config, env }: Context): Promise<number> {
  const status = await new Supervisor(configPath(config, env), env).run();
  setTimeout(() => process.exit(status), LAST_LINES).unref(); // a journal that nobody reads must not keep us from ending
  return status;
}
