import { existsSync, readdirSync } from 'node:fs';
import { isHostsNetwork } from '../host/network.ts';
import { readOr } from '../host/proc.ts';
import type { SystemdFacts } from './facts.ts';

const UNIT = 'knockd-nft-load.service';
/** Where units are found; links in `*.wants` of the first start them. */
const FOLDERS = ['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'];

/** What systemd does for this network namespace when the machine starts; undefined where it does nothing. */
export function readSystemd(): SystemdFacts | undefined {
  if (!existsSync('/run/systemd/system') || !isHostsNetwork()) return undefined;
  return {
    installed: FOLDERS.some(folder => existsSync(`${folder}/${UNIT}`)),
    enabled: isEnabled(UNIT),
    flushes: isEnabled('nftables.service') ? tablesAfterFlush(readOr('/etc/nftables.conf', '')) : undefined,
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

/** The tables of a script for nft that begins by emptying the ruleset, none where it includes others; undefined where it does not. */
export function tablesAfterFlush(script: string): readonly string[] | undefined {
  if (!/^\s*flush\s+ruleset\b/m.test(script)) return undefined;
  if (/^\s*include\b/m.test(script)) return [];
  const tables = script.matchAll(/^\s*(?:add\s+)?table\s+(?:(inet|ip|ip6|arp|bridge|netdev)\s+)?([\w-]+)/gm);
  return [...new Set([...tables].map(([, family = 'ip', name]) => `${family} ${name}`))];
}
