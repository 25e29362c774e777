import { readlinkSync } from 'node:fs';

/** The network namespace of this process: `net:[4026531840]`. */
export function ownNetwork(): string {
  return networkOf('self');
}

/** The same of another process. Throws if it has ended, or if we may not know. */
export function networkOf(pid: number | 'self'): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}

/** Whether this process is in the network namespace of PID 1, with the host's services. False if this user may not know. */
export function isHostsNetwork(): boolean {
  try {
    return ownNetwork() === readlinkSync('/proc/1/ns/net');
  } catch {
    return false;
  }
}
