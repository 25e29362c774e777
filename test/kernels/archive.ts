/** Archives of cpio's format "newc", of which the kernel makes its first root (Documentation/driver-api/early-userspace/buffer-format.rst). */
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';

// include/uapi/linux/stat.h
const S_IFMT = 0o170000;
const BLOCK = 512;

/** Writes all that is in `folder` into `file`, as root's. */
export function archive(folder: string, file: string): void {
  const fd = openSync(file, 'w');
  let inode = 0;
  let written = 0;
  const write = (bytes: Buffer) => {
    written += writeSync(fd, bytes);
  };
  const fill = (size: number) => write(Buffer.alloc((size - (written % size)) % size));
  function entry(name: string, mode: number, data = Buffer.alloc(0)): void {
    const bytes = Buffer.from(`${name}\0`);
    // inode, mode, uid, gid, links, mtime, size, device, device of a node, length of the name, checksum
    const fields = [++inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, bytes.length, 0];
    write(Buffer.from(`070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`));
    write(bytes);
    fill(4);
    write(data);
    fill(4);
  }
  function add(path: string): void {
    const from = join(folder, path);
    const stats = lstatSync(from);
    const data = stats.isFile()
      ? readFileSync(from)
      : stats.isSymbolicLink()
        ? Buffer.from(readlinkSync(from))
        : undefined;
    entry(path, stats.mode & (S_IFMT | 0o7777), data);
    if (stats.isDirectory()) for (const name of readdirSync(from).sort()) add(join(path, name));
  }
  for (const name of readdirSync(folder).sort()) add(name);
  entry('TRAILER!!!', 0);
  fill(BLOCK);
  closeSync(fd);
}
