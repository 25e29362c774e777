import { readlinkSync } from 'node:fs';

/** The network namespace of this process: `net:[4026531840]`. */
export function ownNetwork(): string {
  return readlinkSync('/proc/self/ns/net');
}

/** Whether this process is in the network namespace of PID 1: where the host's services are. False where that is not ours to know. */
export function isHostsNetwork(): boolean {
  try {
    return ownNetwork() === readlinkSync('/proc/1/ns/net');
  } catch {
    return false;
  }
}
