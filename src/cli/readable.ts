import { existsSync, realpathSync } from 'node:fs';
import { ConfigError, type Problem } from '../config/problems.ts';
import { DEFAULT_PATH } from '../config/read.ts';
import { runningSupervisor } from '../host/hold.ts';
import { isHostsNetwork } from '../host/network.ts';
import { hasServices, keptFrom, letRead, SERVICE_USER } from '../host/service-user.ts';
import { shellWord } from '../terminal/shell.ts';
import type { Context } from './context.ts';

/** Why the services cannot read the configuration that they follow, and what mends it. */
interface Unreadable {
  /** By the rights of the file itself, not by those of a folder on the way. */
  readonly byFile: boolean;
  readonly what: string;
  readonly mend: string;
}

/** Undefined if they can, if they do not follow the file, or if we cannot know. */
export function unreadable(path: string, env: NodeJS.ProcessEnv): Unreadable | undefined {
  if (!isFollowed(path, env)) return undefined;
  const closed = keptFrom(SERVICE_USER, path);
  if (typeof closed !== 'string') return undefined;
  const who = `user ${SERVICE_USER}, which the services run as,`;
  if (closed !== realpathSync(path))
    return {
      byFile: false,
      what: `${who} cannot read the file: it may not enter ${closed}`,
      mend: `chmod o+x ${shellWord(closed)}`,
    };
  return {
    byFile: true,
    what: `${who} cannot read the file`,
    mend: `chgrp ${SERVICE_USER} ${shellWord(path)} && chmod g+r ${shellWord(path)}`,
  };
}

/**
 * To be called before a file that the services follow comes in force. If they cannot read it, they would take it back, or not
 * have it at the next boot. Mends its rights and says so, or throws {@link ConfigError}.
 */
export function makeReadable(path: string, { env, tell }: Pick<Context, 'env' | 'tell'>): void {
  const found = unreadable(path, env);
  if (!found) return;
  const changed = found.byFile && letRead(SERVICE_USER, path);
  const still = unreadable(path, env);
  if (!still) {
    tell(
      `${path}: user ${SERVICE_USER}, which the services run as, could not read the file: its group may, now (root:${SERVICE_USER}, 0640)`,
    );
    return;
  }
  const done = changed ? '' : '; nothing was changed';
  throw new ConfigError([
    problem('error', path, `${still.what}; expected a file that it can: ${still.mend}${done}`),
  ]);
}

/** The same as a warning, for commands that only look. */
export function readableWarnings(path: string, env: NodeJS.ProcessEnv): readonly Problem[] {
  const found = unreadable(path, env);
  return found ? [problem('warning', path, `${found.what}: ${found.mend}`)] : [];
}

function problem(severity: Problem['severity'], file: string, message: string): Problem {
  return { severity, file, line: null, column: null, message };
}

/** A running supervisor says which file it follows. Otherwise the services take the usual file. */
function isFollowed(path: string, env: NodeJS.ProcessEnv): boolean {
  if (!existsSync(path) || !isHostsNetwork()) return false;
  const supervisor = runningSupervisor(env);
  if (!supervisor && !hasServices()) return false;
  const followed = supervisor?.config || DEFAULT_PATH;
  return existsSync(followed) && realpathSync(followed) === realpathSync(path);
}
