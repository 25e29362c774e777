import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';
import type { Config, Family } from '../config/types.ts';
import { interfaceNames } from '../host/network.ts';
import { readLines, readOr } from '../host/proc.ts';
import { FAMILIES } from '../ruleset/names.ts';
import { covers } from './covers.ts';
import type { HostFacts, HostInterface } from './facts.ts';

/** Where packets of clients may come in, in this network namespace, and of which families they are. */
export function readWays(config: Config | undefined): Pick<HostFacts, 'families' | 'interfaces' | 'ways'> {
  const interfaces = readInterfaces();
  const ways = waysIn(interfaces, config);
  const has = (family: Family) => ways.some(({ addresses }) => addresses[family]);
  return { interfaces, ways, families: FAMILIES.filter(has) };
}

/** Those with addresses that others can reach, and those without any. */
function readInterfaces(): HostInterface[] {
  const addresses = networkInterfaces();
  const names = interfaceNames().filter(name => name !== 'lo');
  return names.map(name => {
    const usable = (addresses[name] ?? []).filter(({ address }) => !isLinkLocal(address));
    const first = (family: Family) => usable.find(it => it.family.toLowerCase() === family)?.address;
    const [ipv4, ipv6] = [first('ipv4'), first('ipv6')];
    const index = Number(readOr(`/sys/class/net/${name}/ifindex`, ''));
    return {
      name,
      index: index > 0 ? index : undefined,
      addresses: { ...(ipv4 && { ipv4: bytesOf(ipv4) }), ...(ipv6 && { ipv6: bytesOf(ipv6) }) },
      networks: usable.flatMap(({ cidr }) => cidr ?? []),
    };
  });
}

function isLinkLocal(address: string): boolean {
  return ipaddr.parse(address).range() === 'linkLocal';
}

function bytesOf(address: string): Buffer {
  return Buffer.from(ipaddr.parse(address).toByteArray());
}

/** The interfaces that are looked at; or those that default routes lead through; or all with addresses. */
function waysIn(interfaces: readonly HostInterface[], config: Config | undefined): readonly HostInterface[] {
  const named = interfaces.filter(({ name }) => config?.interfaces.some(it => covers(it, name)));
  if (named.length > 0) return named;
  const routes = defaultRoutes();
  const reachable = interfaces.filter(({ networks }) => networks.length > 0);
  const outside = reachable.filter(({ name }) => routes.has(name));
  return outside.length > 0 ? outside : reachable;
}

const RTF_UP = 1;
const RTF_REJECT = 0x200;

/** The interfaces of default routes. */
function defaultRoutes(): Set<string> {
  const isUsed = (flags: string | undefined) =>
    (Number.parseInt(flags ?? '', 16) & (RTF_UP | RTF_REJECT)) === RTF_UP;
  const ipv4 = readLines('/proc/self/net/route').flatMap(line => {
    // Iface Destination Gateway Flags RefCnt Use Metric Mask …
    const [name, destination, , flags, , , , mask] = line.split(/\s+/);
    return name && destination === '00000000' && mask === '00000000' && isUsed(flags) ? [name] : [];
  });
  const ipv6 = readLines('/proc/self/net/ipv6_route').flatMap(line => {
    // destination, length, source, length, next hop, metric, references, use, flags, interface
    const [destination = '', length, , , , , , , flags, name] = line.trim().split(/\s+/);
    return name && /^0+$/.test(destination) && length === '00' && isUsed(flags) ? [name] : [];
  });
  return new Set([...ipv4, ...ipv6]);
}
