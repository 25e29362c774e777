import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The text of a file, or `otherwise` where it cannot be read. */
export function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** The lines of a file that are not empty; none where it cannot be read. */
export function readLines(path: string): string[] {
  return readOr(path, '')
    .split('\n')
    .filter(line => line.trim() !== '');
}

/** What `/proc/PID/stat` says behind the name, from the state on, which is field 3 (proc(5)); undefined where it has ended. */
function statOf(pid: number): readonly string[] | undefined {
  // the name in parentheses may contain anything
  const [, fields] = /^.*\) (.*)$/s.exec(readOr(`/proc/${pid}/stat`, '')) ?? [];
  return fields?.split(' ');
}

/** 0 where the process has ended. */
export function parentOf(pid: number): number {
  return Number(statOf(pid)?.[1] ?? 0);
}

/**
 * When a process began, in the kernel's ticks since boot; undefined where it has ended. With its number that names it for
 * good: numbers are given anew.
 */
export function startOf(pid: number): string | undefined {
  return statOf(pid)?.[19];
}

/** The inodes of the sockets that a process holds; undefined where it has ended, or is not ours to look at. */
export function socketsOf(pid: number): readonly number[] | undefined {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap(name => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(targetOf(`${folder}/${name}`)) ?? [];
      return inode === undefined ? [] : [Number(inode)];
    });
  } catch {
    return undefined;
  }
}

/** Of a symbolic link; '' where that cannot be read. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

/** The ports that the kernel gives to programs that ask for any, both included. */
export function readEphemeral(): { readonly first: number; readonly last: number } {
  const range = readOr('/proc/sys/net/ipv4/ip_local_port_range', '32768 60999'); // the kernel's default
  const [first = 0, last = 0] = range.trim().split(/\s+/).map(Number);
  return { first, last };
}
