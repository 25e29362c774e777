import { fstatSync, openSync, realpathSync, statSync } from 'node:fs';
import { closeRead, EditError, type FileRights, readPlain, writeWhole } from './files.ts';
import { tryLock } from './lock.ts';

export function rightsOf(path: string): FileRights {
  const { mode, uid, gid } = statSync(path);
  return { mode: mode & 0o7777, uid, gid };
}

/**
 * Changes the text of a file, whole or not at all. It keeps owner, group and mode, and follows links. Throws {@link EditError}
 * if another program changed the file meanwhile or another command is editing it, and the errors of open(2) and write(2).
 */
export async function editFile<T>(
  path: string,
  edit: (text: string) => Promise<{ readonly text: string; readonly result: T }>,
): Promise<T> {
  const real = realpathSync(path);
  const lock = openSync(real, 'r');
  try {
    if (!tryLock(lock)) throw new EditError(`another command edits ${path}: try again; nothing was changed`);
    const before = readPlain(real);
    const { text, result } = await edit(before);
    const isSame = statSync(real).ino === fstatSync(lock).ino && readPlain(real) === before;
    if (!isSame)
      throw new EditError(`${path} was changed by another program meanwhile: try again; nothing was changed`);
    if (text !== before) writeWhole(real, text, rightsOf(real));
    return result;
  } finally {
    closeRead(lock);
  }
}
