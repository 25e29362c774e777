import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The text of a file, or `otherwise` if it cannot be read. */
export function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** The lines of a file that are not empty; none if it cannot be read. */
export function readLines(path: string): string[] {
  return readOr(path, '')
    .split('\n')
    .filter(line => line.trim() !== '');
}

/** The fields of `/proc/PID/stat` after the name, from the state on, which is field 3 (proc(5)); undefined after its end. */
function statOf(pid: number): readonly string[] | undefined {
  // the name in parentheses may contain anything
  const [, fields] = /^.*\) (.*)$/s.exec(readOr(`/proc/${pid}/stat`, '')) ?? [];
  return fields?.split(' ');
}

/** The parent's process id; 0 if the process has ended. */
export function parentOf(pid: number): number {
  return Number(statOf(pid)?.[1] ?? 0);
}

/**
 * When a process began, in the kernel's ticks since boot; undefined if it has ended. Process ids are used again. Together with
 * its start, an id stands for one process only.
 */
export function startOf(pid: number): string | undefined {
  return statOf(pid)?.[19];
}

/** Whether a process of the group runs. One that has ended but was not waited for, as under some containers' process 1, does not. */
export function isGroupRunning(group: number): boolean {
  return readdirSync('/proc').some(name => {
    const [state = 'Z', , itsGroup] = /^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : [];
    return Number(itsGroup) === group && !/[ZX]/.test(state);
  });
}

/** The inodes of the sockets that a process holds; undefined if it has ended, or if we may not look at it. */
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

/** The target of a symbolic link; '' if it cannot be read. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

/** The range from which the kernel picks ports for programs that ask for any, both ends included. */
export function readEphemeral(): { readonly first: number; readonly last: number } {
  const range = readOr('/proc/sys/net/ipv4/ip_local_port_range', '32768 60999'); // the kernel's default
  const [first = 0, last = 0] = range.trim().split(/\s+/).map(Number);
  return { first, last };
}
