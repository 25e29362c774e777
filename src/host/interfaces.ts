import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';
import type { Config } from '../config/types.ts';
import { type Link, readLinks } from '../netlink/link.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { withConnection } from './access.ts';

/** The interfaces of this network namespace; needs no privileges. */
export function interfaces(): Promise<readonly Link[]> {
  return withConnection(NETLINK_ROUTE, readLinks);
}

/** Addresses by interface, without those that only neighbours can reach. */
export function reachableAddresses(): ReadonlyMap<string, readonly NetworkInterfaceInfo[]> {
  const usable = ({ address }: NetworkInterfaceInfo) => ipaddr.parse(address).range() !== 'linkLocal';
  const all = Object.entries(networkInterfaces());
  return new Map(
    all
      .map(([name, list = []]) => [name, list.filter(usable)] as const)
      .filter(([, list]) => list.length > 0),
  );
}

/** Whether a name of the configuration, perhaps with a wildcard at its end, is that of an interface. */
export function covers(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/**
 * A name of the configuration's `interfaces` by which nothing, or not what it stands for, comes in to us:
 * - `absent`: there is no such interface; it may come.
 * - `loopback`: what comes in by lo is never looked at.
 * - `other name`: an alternative name of `link`, which nftables does not know.
 * - `port`: what comes in by `link` has its bridge, bond, team or VRF as its interface in nftables.
 * - `parent`: `link` has no address of its own, and what comes in by its VLANs has those as its interface.
 */
export interface Astray {
  readonly pattern: string;
  readonly is: 'absent' | 'loopback' | 'other name' | 'port' | 'parent';
  /** The pattern itself where there is none. */
  readonly link: string;
  /** The names that are meant, as far as known. */
  readonly by: readonly string[];
  /** Of a port: `bridge`. */
  readonly kind: string | undefined;
}

/** What `interfaces` of the configuration come to on this host. */
export interface Looked {
  /** Interfaces whose packets are looked at. */
  readonly at: readonly string[];
  /** Interfaces that packets come in by, and are not looked at. */
  readonly past: readonly string[];
  readonly astray: readonly Astray[];
}

/** Masters that packets come in by, in place of their ports. */
const MASTERS: ReadonlySet<string | undefined> = new Set(['bridge', 'bond', 'team', 'vrf']);

/** Which interfaces are looked at. Without patterns that is all but the loopback. `addressed`: interfaces with addresses. */
export function lookedAt(
  patterns: readonly string[],
  links: readonly Link[],
  addressed: Pick<ReadonlySet<string>, 'has'>,
): Looked {
  const outside = links.filter(({ name }) => name !== 'lo');
  const isCovered = (name: string) => patterns.length === 0 || patterns.some(it => covers(it, name));
  /** Why packets to it have another interface in nftables. */
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

/** As {@link lookedAt}, here and now; needs no privileges. */
export async function lookHere({ interfaces: patterns }: Pick<Config, 'interfaces'>): Promise<Looked> {
  return lookedAt(patterns, await interfaces(), reachableAddresses());
}

/** Whether names keep everything from being looked at. */
export function looksNowhere({ at, astray }: Pick<Looked, 'at' | 'astray'>): boolean {
  return astray.length > 0 && at.length === 0;
}

export const NOTHING_LOOKED_AT = 'no packet comes in by any of them at present: NOTHING IS GUARDED';

/** In sentences for warnings; none where all is as it seems. */
export function troublesOf(looked: Pick<Looked, 'at' | 'astray'>): string[] {
  const told = looked.astray.map(astrayText);
  return (looksNowhere(looked) ? [NOTHING_LOOKED_AT, ...told] : told).map(text => `"interfaces": ${text}`);
}

export interface InterfaceTroubles {
  readonly texts: readonly string[];
  /** As {@link looksNowhere}; undefined where that is not known. */
  readonly isNowhere: boolean | undefined;
}

/** What is wrong with `interfaces` here and now; where it cannot be looked, that is told. */
export async function interfaceTroubles(config: Pick<Config, 'interfaces'>): Promise<InterfaceTroubles> {
  if (config.interfaces.length === 0) return { texts: [], isNowhere: false };
  try {
    const looked = await lookHere(config);
    return { texts: troublesOf(looked), isNowhere: looksNowhere(looked) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      texts: [`"interfaces": which of them are here cannot be told: ${message}`],
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
      return `there is no interface ${named}, so nothing comes in there at present`;
    case 'loopback':
      return `${named} is the loopback, which is never looked at`;
    case 'other name':
      return `${named} is another name of ${link}, and nftables does not know it: packets come in by ${names}`;
    case 'port':
      return `${named} is a port of a ${kind}: packets come in by ${names}, and are not looked at there`;
    case 'parent':
      return `${named} only carries VLANs: packets come in by ${names}, and are not looked at there`;
  }
}
