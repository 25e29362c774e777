import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import type { Config } from '../config/types.ts';
import { isLinkLocal, parseAddress } from '../inet/address.ts';
import { covers } from '../inet/interface.ts';
import { type Link, readLinks } from '../netlink/link.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { withConnection } from './access.ts';

/** The interfaces of this network namespace. Needs no privileges. */
export function interfaces(): Promise<readonly Link[]> {
  return withConnection(NETLINK_ROUTE, readLinks);
}

/** Addresses by interface, without those that only neighbours can reach. */
export function reachableAddresses(): ReadonlyMap<string, readonly NetworkInterfaceInfo[]> {
  const usable = ({ address }: NetworkInterfaceInfo) => !isLinkLocal(parseAddress(address));
  const all = Object.entries(networkInterfaces());
  return new Map(
    all
      .map(([name, list = []]) => [name, list.filter(usable)] as const)
      .filter(([, list]) => list.length > 0),
  );
}

/**
 * A name in the configuration's `interfaces` by which no packet comes in to us, or not those that its author means:
 * - `absent`: there is no such interface now.
 * - `loopback`: the guards never look at packets from lo.
 * - `other name`: an alternative name of `link`, which nftables does not know.
 * - `port`: for packets that come in by `link`, nftables names its bridge, bond, team or VRF.
 * - `parent`: `link` has no address of its own, and for packets of its VLANs nftables names those.
 */
export interface Astray {
  readonly pattern: string;
  readonly is: 'absent' | 'loopback' | 'other name' | 'port' | 'parent';
  /** The interface; the pattern itself if there is none. */
  readonly link: string;
  /** The names to use instead, as far as known. */
  readonly by: readonly string[];
  /** For a port, the kind of its master: `bridge`. */
  readonly kind: string | undefined;
}

/** The interfaces on this host that the configuration's `interfaces` mean. */
export interface Looked {
  /** Interfaces whose packets the guards look at. */
  readonly at: readonly string[];
  /** Interfaces that packets come in by, and that the guards ignore. */
  readonly past: readonly string[];
  readonly astray: readonly Astray[];
}

/** Kinds of masters that nftables names in place of their ports. */
const MASTERS: ReadonlySet<string | undefined> = new Set(['bridge', 'bond', 'team', 'vrf']);

/** Which interfaces the guards look at: without patterns, all but the loopback. `addressed` are those with addresses. */
export function lookedAt(
  patterns: readonly string[],
  links: readonly Link[],
  addressed: Pick<ReadonlySet<string>, 'has'>,
): Looked {
  const outside = links.filter(({ name }) => name !== 'lo');
  const isCovered = (name: string) => patterns.length === 0 || patterns.some(it => covers(it, name));
  /** Why nftables names another interface for packets that come in by `link`. */
  const otherwise = (link: Link): Pick<Astray, 'is' | 'by' | 'kind'> | undefined => {
    const master = MASTERS.has(link.masterKind) ? links.find(it => it.index === link.master) : undefined;
    if (master) return { is: 'port', by: [master.name], kind: link.masterKind };
    const vlans = outside.filter(({ kind, lower }) => kind === 'vlan' && lower === link.index);
    if (vlans.length === 0 || addressed.has(link.name)) return undefined;
    return { is: 'parent', by: vlans.map(({ name }) => name), kind: undefined };
  };
  const astray = patterns.flatMap((pattern): Astray[] => {
    const there = outside.filter(({ name }) => covers(pattern, name));
    if (there.length > 0)
      return there.flatMap(link => {
        const other = otherwise(link);
        return other && !other.by.some(isCovered) ? [{ pattern, link: link.name, ...other }] : [];
      });
    const other = outside.find(({ otherNames }) => otherNames.some(name => covers(pattern, name)));
    if (other) return [{ pattern, is: 'other name', link: other.name, by: [other.name], kind: undefined }];
    const is = covers(pattern, 'lo') ? 'loopback' : 'absent';
    return [{ pattern, is, link: pattern, by: [], kind: undefined }];
  });
  const ways = outside.filter(link => otherwise(link) === undefined).map(({ name }) => name);
  return {
    at: ways.filter(isCovered),
    past: ways.filter(name => !isCovered(name)),
    astray,
  };
}

/** Like {@link lookedAt}, for this host now. Needs no privileges. */
export async function lookHere({ interfaces: patterns }: Pick<Config, 'interfaces'>): Promise<Looked> {
  return lookedAt(patterns, await interfaces(), reachableAddresses());
}

/** Whether the names keep the guards from looking at any packet. */
export function looksNowhere({ at, astray }: Pick<Looked, 'at' | 'astray'>): boolean {
  return astray.length > 0 && at.length === 0;
}

export const NOTHING_LOOKED_AT =
  'no packet comes in by any of these interfaces at present: NOTHING IS GUARDED';

/** The troubles as sentences for warnings; empty if there are none. */
export function troublesOf(looked: Pick<Looked, 'at' | 'astray'>): string[] {
  const told = looked.astray.map(astrayText);
  return (looksNowhere(looked) ? [NOTHING_LOOKED_AT, ...told] : told).map(text => `"interfaces": ${text}`);
}

export interface InterfaceTroubles {
  readonly texts: readonly string[];
  /** As {@link looksNowhere} says; undefined if that is not known. */
  readonly isNowhere: boolean | undefined;
}

/** The problems of `interfaces` on this host now. If we cannot find out, the texts say so. */
export async function interfaceTroubles(config: Pick<Config, 'interfaces'>): Promise<InterfaceTroubles> {
  if (config.interfaces.length === 0) return { texts: [], isNowhere: false };
  try {
    const looked = await lookHere(config);
    return { texts: troublesOf(looked), isNowhere: looksNowhere(looked) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      texts: [`"interfaces": cannot find out which of them are here: ${message}`],
      isNowhere: undefined,
    };
  }
}

/** `eth1 is a port of the bridge br0: packets come in by "br0"` */
export function astrayText({ pattern, is, link, by, kind }: Astray): string {
  const named = pattern.endsWith('*') && link !== pattern ? `${link} ("${pattern}")` : `"${pattern}"`;
  const names = by.map(name => `"${name}"`).join(', ');
  switch (is) {
    case 'absent':
      return `there is no interface ${named} at present, so nothing comes in there`;
    case 'loopback':
      return `${named} is the loopback, which is never guarded`;
    case 'other name':
      return `${named} is another name of ${link}, and nftables does not know it: packets come in by ${names}`;
    case 'port':
      return `${named} is a port of a ${kind}: packets come in by ${names}, and nothing is guarded there`;
    case 'parent':
      return `${named} only carries VLANs: packets come in by ${names}, and nothing is guarded there`;
  }
}
