import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigError, type Problem } from '../config/problems.ts';
import { DEFAULT_PATH } from '../config/read.ts';
import { shellWord } from '../terminal/shell.ts';
import { runningSupervisor } from './hold.ts';
import { isSameFile } from './mounts.ts';
import { isHostsNetwork } from './network.ts';
import { hasServices, keptFrom, letRead, SERVICE_USER } from './service-user.ts';

/** Why the services cannot read the configuration that they follow, or a file of its secrets, and what mends it. */
export interface Unreadable {
  readonly file: string;
  /** By the rights of the file itself, not by those of a folder on the way. */
  readonly byFile: boolean;
  readonly what: string;
  readonly mend: string;
}

/** Undefined if they can, if they do not follow the file, or if we cannot know. `secretFiles` are those that the file names. */
export function unreadable(
  path: string,
  secretFiles: readonly string[],
  env: NodeJS.ProcessEnv,
): Unreadable | undefined {
  if (!isFollowed(path, env)) return undefined;
  const files = [path, ...secretFiles.filter(it => existsSync(it))];
  const closed = keptFrom(SERVICE_USER, ...files);
  if (typeof closed !== 'string') return undefined;
  const who = `user ${SERVICE_USER}, which the services run as,`;
  const file = files.find(it => realpathSync(it) === closed);
  if (file === undefined)
    return {
      file: files.find(it => isIn(closed, it)) ?? path,
      byFile: false,
      what: `${who} cannot read the file: it may not enter ${closed}`,
      mend: `chmod o+x ${shellWord(closed)}`,
    };
  return {
    file,
    byFile: true,
    what: `${who} cannot read the file`,
    mend: `chgrp ${SERVICE_USER} ${shellWord(file)} && chmod g+r ${shellWord(file)}`,
  };
}

/** Whether a folder is on the way to a file. */
function isIn(folder: string, file: string): boolean {
  return [resolve(file), realpathSync(file)].some(path => path.startsWith(`${folder.replace(/\/$/, '')}/`));
}

/**
 * To be called before a file that the services follow comes in force. If they cannot read it, they would undo the load,
 * or not have the file at the next boot. Mends its rights and says so, or throws {@link ConfigError}.
 */
export function makeReadable(
  path: string,
  secretFiles: readonly string[],
  { env, tell }: { readonly env: NodeJS.ProcessEnv; readonly tell: (text: string) => void },
): void {
  let changed = false;
  for (let found = unreadable(path, secretFiles, env); found; ) {
    const { file, byFile } = found;
    const mended = byFile && letRead(SERVICE_USER, file);
    changed ||= mended;
    found = unreadable(path, secretFiles, env);
    if (found && (!mended || found.file === file)) {
      const done = changed ? '' : '; nothing was changed';
      throw new ConfigError([
        problem('error', found.file, `${found.what}; expected a file that it can: ${found.mend}${done}`),
      ]);
    }
    if (mended)
      tell(
        `${file}: user ${SERVICE_USER}, which the services run as, could not read the file: its group may, now (root:${SERVICE_USER}, 0640)`,
      );
  }
}

/** The same as a warning, for commands that only look, or that have written the file. */
export function readableWarnings(
  path: string,
  secretFiles: readonly string[],
  env: NodeJS.ProcessEnv,
): readonly Problem[] {
  try {
    const found = unreadable(path, secretFiles, env);
    return found ? [problem('warning', found.file, `${found.what}: ${found.mend}`)] : [];
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    return [
      problem('warning', path, `whether user ${SERVICE_USER} can read the file cannot be found out (${why})`),
    ];
  }
}

function problem(severity: Problem['severity'], file: string, message: string): Problem {
  return { severity, file, line: null, column: null, message };
}

/** A running supervisor says which file it follows. Otherwise the services take the usual file. */
function isFollowed(path: string, env: NodeJS.ProcessEnv): boolean {
  if (!existsSync(path) || !isHostsNetwork()) return false;
  const supervisor = runningSupervisor(env);
  if (!supervisor && !hasServices()) return false;
  return isSameFile(supervisor?.config || DEFAULT_PATH, path);
}
