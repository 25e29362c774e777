import { NF_IP_PRI } from '../inet/netfilter.ts';
import type { Hook } from '../nftables/ruleset.ts';
import type { Bits } from './bits.ts';
import { type Packet, redirected } from './packet.ts';
import type { ForeignChain, ForeignTable } from './table.ts';
import { type Fate, type Ruling, Walker } from './walk.ts';
import { type Written, writtenBy } from './written.ts';

/** Another program's base chain that packets of a family go through. */
interface Station {
  readonly table: ForeignTable;
  readonly chain: ForeignChain & { readonly hook: Hook };
}

/** The fate of a packet in a base chain. */
export interface Visit extends Station {
  readonly ruling: Ruling;
  /** Everything that may happen to such a packet there. */
  readonly possible: ReadonlySet<Fate>;
  /** Whether a rule there takes it out of connection tracking. */
  readonly untracked: boolean;
  /** The ports whose transparent sockets TPROXY may give it to. */
  readonly leads: readonly Bits[];
  /** The chains that it likely goes through, the base chain first. */
  readonly chains: readonly string[];
}

/** The base chains at a hook that see packets of this family, in their order. */
function stations(tables: readonly ForeignTable[], family: Packet['family'], hook: Hook['name']): Station[] {
  const seeing = family === 'ipv4' ? 'ip' : 'ip6';
  return tables
    .filter(table => table.family === 'inet' || table.family === seeing)
    .flatMap(table =>
      [...table.chains.values()].flatMap(chain =>
        chain.hook?.name === hook ? [{ table, chain: { ...chain, hook: chain.hook } }] : [],
      ),
    )
    .sort((a, b) => a.chain.hook.priority - b.chain.hook.priority);
}

/**
 * Takes a packet through the base chains of a hook, to the last of them even if an earlier one likely stops it. The first
 * translation counts, and the chains after it see the packet with its new destination.
 */
export function pass(
  tables: readonly ForeignTable[],
  hook: Hook['name'],
  packet: Packet,
): { readonly visits: readonly Visit[]; readonly packet: Packet; readonly translation: Visit | undefined } {
  let current = packet;
  let translation: Visit | undefined;
  const visits: Visit[] = [];
  for (const station of stations(tables, packet.family, hook)) {
    if (station.chain.hook.priority > NF_IP_PRI.conntrack && current.tracking === 'none')
      current = { ...current, tracking: 'new' };
    const visit = visitOf(station, current, writtenBy(tables));
    visits.push(visit);
    if (visit.untracked) current = { ...current, tracking: 'untracked' };
    if (visit.ruling.to && !translation) {
      translation = visit;
      current = redirected(current, visit.ruling.to);
    }
  }
  return { visits, packet: current, translation };
}

function visitOf({ table, chain }: Station, packet: Packet, written: Written): Visit {
  const { likely, possible, open, untracked, leads, chains } = new Walker(table, packet, written).walk(
    chain.name,
  );
  const all = open ? new Set([...possible, chain.hook.policy]) : possible;
  const [only] = all;
  const ruling = likely ?? { fate: chain.hook.policy, rule: undefined };
  const known = ruling.fate === 'unknown' && all.size === 1 && only ? { ...ruling, fate: only } : ruling;
  return { table, chain, ruling: known, possible: all, untracked: untracked !== undefined, leads, chains };
}
