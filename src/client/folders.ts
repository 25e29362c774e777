import { statSync } from 'node:fs';
import { homedir } from 'node:os';
import { posix, win32 } from 'node:path';

/**
 * The user's file of hosts: `~/.config/knockd-nft/hosts.json`, on Windows `%APPDATA%\knockd-nft\hosts.json`, or in the folder
 * of XDG's variable.
 */
export function hostsPath({ XDG_CONFIG_HOME, APPDATA }: NodeJS.ProcessEnv): string {
  return paths().join(folderOf(XDG_CONFIG_HOME, APPDATA, '.config'), 'hosts.json');
}

/** For files that outlive the boot: `~/.local/state/knockd-nft`, `%LOCALAPPDATA%\knockd-nft`, or the folder of XDG's variable. */
export function stateFolder({ XDG_STATE_HOME, LOCALAPPDATA }: NodeJS.ProcessEnv): string {
  return folderOf(XDG_STATE_HOME, LOCALAPPDATA, '.local/state');
}

/**
 * For files that end with the login: XDG's runtime folder, if it is the user's own (after sudo it may be another user's).
 * Otherwise the state folder.
 */
export function runtimeFolder(env: NodeJS.ProcessEnv): string {
  const { XDG_RUNTIME_DIR: runtime = '' } = env;
  const { join, isAbsolute } = paths();
  const own =
    isAbsolute(runtime) && statSync(runtime, { throwIfNoEntry: false })?.uid === process.geteuid?.();
  return own ? join(runtime, 'knockd-nft') : stateFolder(env);
}

/** On Windows only a user who means XDG's variables sets them. */
function folderOf(xdg: string | undefined, windows: string | undefined, usual: string): string {
  const { join, isAbsolute } = paths();
  const given = [xdg, process.platform === 'win32' ? windows : undefined];
  const base = given.find(path => path !== undefined && isAbsolute(path)) ?? join(home(), usual);
  return join(base, 'knockd-nft');
}

function paths(): typeof posix {
  return process.platform === 'win32' ? win32 : posix;
}

function home(): string {
  try {
    return homedir();
  } catch {
    return '/'; // a user whom the system does not know, without HOME
  }
}
