import { existsSync, readdirSync } from 'node:fs';
import { isHostsNetwork } from '../host/network.ts';
import type { SystemdFacts } from './facts.ts';
import { readFlushes } from './flushes.ts';

const UNIT = 'knockd-nft-load.service';
/** The folders of units. Links in `*.wants` of the first one start them. */
const FOLDERS = ['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'];

/** What systemd does for this network namespace at boot; undefined if it does nothing. */
export function readSystemd(): SystemdFacts | undefined {
  if (!existsSync('/run/systemd/system') || !isHostsNetwork()) return undefined;
  return {
    installed: FOLDERS.some(folder => existsSync(`${folder}/${UNIT}`)),
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
