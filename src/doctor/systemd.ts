import { existsSync, readdirSync } from 'node:fs';
import { isHostsNetwork } from '../host/network.ts';
import { UNIT_FOLDERS } from '../host/service-user.ts';
import type { SystemdFacts } from './facts.ts';
import { readFlushes } from './flushes.ts';

const UNIT = 'knockd-nft-load.service';

/** The units that systemd starts for this network namespace at boot; undefined if it starts none. */
export function readSystemd(): SystemdFacts | undefined {
  if (!existsSync('/run/systemd/system') || !isHostsNetwork()) return undefined;
  return {
    installed: UNIT_FOLDERS.some(folder => existsSync(`${folder}/${UNIT}`)),
    enabled: isEnabled(UNIT),
    flushes: readFlushes(),
  };
}

function isEnabled(unit: string): boolean {
  try {
    return readdirSync('/etc/systemd/system')
      .filter(name => /\.(wants|requires)$/.test(name))
      .some(name => existsSync(`/etc/systemd/system/${name}/${unit}`));
  } catch {
    return false;
  }
}
