import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  openSync,
  realpathSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { readOr } from './proc.ts';

/** The user that the units run the services as. The package makes it. */
export const SERVICE_USER = 'knockd-nft';

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** The user of that name in /etc/passwd; undefined if there is none. */
export function findUser(name: string): User | undefined {
  const line = readOr('/etc/passwd', '')
    .split('\n')
    .find(it => it.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

/** The number of a group; undefined if there is none of that name. */
export function findGroup(name: string): number | undefined {
  const line = readOr('/etc/group', '')
    .split('\n')
    .find(it => it.startsWith(`${name}:`));
  const gid = line?.split(':')[2];
  return gid ? Number(gid) : undefined;
}

/** Becomes the user given first, and prints the first folder, which ends with "/", or file that the user may not open. */
const ASK = `
const { accessSync, constants: { R_OK, X_OK } } = require('node:fs');
const [name, uid, gid, ...paths] = process.argv.slice(1);
process.initgroups(name, Number(gid));
process.setgid(Number(gid));
process.setuid(Number(uid));
const closed = paths.find(path => {
  try { accessSync(path, path.endsWith('/') ? X_OK : R_OK); } catch { return true; }
});
process.stdout.write(JSON.stringify(closed ?? null));
`;

/**
 * The obstacle that keeps a user from reading all of these files: one of them, or a folder on the way, also behind links;
 * undefined if there is none. A process that becomes that user asks the kernel, so access lists and groups count. Null
 * if only the kernel could tell and we are not root, or may not become another user here.
 */
export function keptFrom(name: string, ...paths: readonly string[]): string | null | undefined {
  const user = findUser(name);
  if (!user || process.geteuid?.() !== 0) return null;
  const way = new Set(
    paths.flatMap(path => {
      const file = realpathSync(path);
      return [...foldersTo(resolve(path)), ...foldersTo(file), file];
    }),
  );
  const words = [name, user.uid, user.gid].map(String);
  const { status, stdout } = spawnSync(process.execPath, ['-e', ASK, ...words, ...way], {
    env: {},
    encoding: 'utf8',
  });
  if (status !== 0) return null;
  return (JSON.parse(stdout) as string | null)?.replace(/(?<=.)\/$/, '') ?? undefined;
}

/** The folders that lead to a path, from the root on, each with a "/" at its end. */
function foldersTo(path: string): string[] {
  const folder = dirname(path);
  return folder === path ? [] : [...foldersTo(folder), folder.replace(/\/?$/, '/')];
}

/**
 * Lets the user's group read a file of root's that no other group may read, for example as `root:knockd-nft` and 0640. False
 * if the file has another owner, or its group has rights that this would take away.
 */
export function letRead(name: string, path: string): boolean {
  const user = findUser(name);
  if (!user) return false;
  const descriptor = openSync(realpathSync(path), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { uid, gid, mode } = fstatSync(descriptor);
    const ofOthers = uid !== 0 || (gid !== 0 && gid !== user.gid && (mode & 0o070) !== 0);
    if (ofOthers) return false;
    fchownSync(descriptor, uid, user.gid);
    fchmodSync(descriptor, (mode & 0o707) | 0o040);
    return true;
  } finally {
    closeSync(descriptor);
  }
}

/** The folders of units. Links in `*.wants` of the first one start them. */
export const UNIT_FOLDERS = ['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'];

/** Whether systemd can start the services here. */
export function hasServices(): boolean {
  return UNIT_FOLDERS.some(folder => existsSync(`${folder}/knockd-nft.service`));
}
