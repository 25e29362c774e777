import { release } from 'node:os';
import type { Config } from '../config/types.ts';
import { listeners } from '../host/access.ts';
import { readEphemeral, readLines, readOr } from '../host/proc.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { HostFacts } from './facts.ts';
import { SWITCHES } from './settings.ts';
import { readWays } from './ways.ts';

/** The facts about this host and network namespace that need no privileges. */
export async function readHostFacts(config: Config | undefined): Promise<HostFacts> {
  return {
    ...(await readWays(config)),
    release: release(),
    listeners: await listeners().catch(error => {
      if (error instanceof NetlinkError) return undefined; // no such module
      throw error;
    }),
    ephemeral: readEphemeral(),
    conntrack: readConntrack(),
    switches: readSwitches(),
    legacyTables: ['ip', 'ip6'].flatMap(family =>
      readLines(`/proc/self/net/${family}_tables_names`).map(name => `${family} ${name}`),
    ),
  };
}

function readConntrack(): HostFacts['conntrack'] {
  const [count, max] = ['count', 'max'].map(name =>
    Number(readOr(`/proc/sys/net/netfilter/nf_conntrack_${name}`, '')),
  );
  return max ? { count: count ?? 0, max } : undefined;
}

function readSwitches(): Set<string> {
  const names = [
    ...SWITCHES.reflect,
    ...Object.values(SWITCHES.forward),
    SWITCHES.helper,
    ...SWITCHES.bridged,
  ];
  return new Set(names.filter(name => Number(readOr(`/proc/sys/${name.replaceAll('.', '/')}`, '')) > 0));
}
