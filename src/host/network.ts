import { readlinkSync } from 'node:fs';

/** The network namespace of this process: `net:[4026531840]`. */
export function ownNetwork(): string {
  return readlinkSync('/proc/self/ns/net');
}

/** Whether this process is in the network namespace of PID 1, with the host's services. False if this user may not know. */
export function isHostsNetwork(): boolean {
  try {
    return ownNetwork() === readlinkSync('/proc/1/ns/net');
  } catch {
    return false;
  }
}
