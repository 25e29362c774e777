import { readFileSync, readlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The most symbolic links that the kernel follows (MAXSYMLINKS, include/linux/namei.h). */
const MOST_LINKS = 40;

/** The trouble with a file whose file system hangs. */
export const SILENT = 'its file system does not answer';

/** A mount as this process sees it: proc_pid_mountinfo(5). */
interface Mount {
  readonly id: string;
  /** The mount that it is mounted on. */
  readonly parent: string;
  readonly point: string;
  readonly type: string;
}

/** File systems of this machine: each answers at once, and all changes pass through this kernel, which reports them by inotify. */
const LOCAL: ReadonlySet<string> = new Set([
  ...['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'bcachefs', 'zfs', 'overlay'],
  ...['jfs', 'nilfs2', 'reiserfs', 'ubifs', 'jffs2', 'vfat', 'exfat', 'ntfs3'],
  ...['tmpfs', 'ramfs', 'rootfs', 'squashfs', 'erofs', 'iso9660'],
]);

const isLocal = (mount: Mount | undefined): boolean => mount !== undefined && LOCAL.has(mount.type);

/** Asks no file system but /proc, so that none can keep us waiting. Empty if it cannot be read. */
function readMounts(): readonly Mount[] {
  try {
    const lines = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n');
    return lines.map(line => {
      const [id = '', parent = '', , , point = ''] = line.split(' ');
      const [, type = ''] = / - (\S+)/.exec(line) ?? [];
      return { id, parent, type, point: point.replace(/\\(\d{3})/g, (_, octal) => charOf(octal)) };
    });
  } catch {
    return [];
  }
}

/** A space, a tab, a line's end and a backslash are written in this way. */
const charOf = (octal: string) => String.fromCharCode(Number.parseInt(octal, 8));

/** The mount that is seen at `path`, whose folder is on `on`: `on` itself, or what is mounted there. */
function mountAt(mounts: readonly Mount[], path: string, on: Mount | undefined): Mount | undefined {
  const next = mounts.find(({ parent, point }) => point === path && (on ? parent === on.id : true));
  return next && next !== on ? mountAt(mounts, path, next) : on;
}

/** The way to a file. */
interface Way {
  /** Its entries, through symbolic links, too: `/etc`, `/etc/knockd-nft.json`. */
  readonly entries: ReadonlySet<string>;
  /** The last entry is on a file system that may hang, or report no changes. It was not asked anything. */
  readonly isAway: boolean;
  /** Where it leads, through the links that are known. */
  readonly end: string;
}

export function wayTo(path: string, mounts = readMounts()): Way {
  const entries = new Set<string>();
  const left = resolve(path).split('/').slice(1);
  const root = mountAt(mounts, '/', undefined);
  let mount = root;
  let links = 0;
  let at = '/';
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    const entry = join(at, name);
    entries.add(entry);
    mount = mountAt(mounts, entry, mount);
    if (!isLocal(mount)) return { entries, isAway: true, end: join(entry, ...left) };
    const target = linkTarget(entry);
    if (target === undefined) at = entry;
    else if (++links > MOST_LINKS) break;
    else {
      left.unshift(...resolve(at, target).split('/').slice(1));
      at = '/';
      mount = root;
    }
  }
  return { entries, isAway: false, end: at };
}

/** A test whether a file is on a file system that may hang, by the mounts of now. */
export function awayNow(): (path: string) => boolean {
  const mounts = readMounts();
  return path => wayTo(path, mounts).isAway;
}

/** Whether two paths lead to the same file. It asks no file system that may hang. */
export function isSameFile(one: string, other: string): boolean {
  return wayTo(one).end === wayTo(other).end;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
