import { readlinkSync } from 'node:fs';

/** Whether this process is in the network namespace of PID 1: where the host's services are. False where that is not ours to know. */
export function isHostsNetwork(): boolean {
  try {
    return readlinkSync('/proc/self/ns/net') === readlinkSync('/proc/1/ns/net');
  } catch {
    return false;
  }
}
