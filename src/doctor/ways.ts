import type { NetworkInterfaceInfo } from 'node:os';
import type { Config } from '../config/types.ts';
import { lookedAt, reachableAddresses, interfaces as readLinks } from '../host/interfaces.ts';
import { readLines } from '../host/proc.ts';
import { masked, parseAddress } from '../inet/address.ts';
import { FAMILIES, type Family, familyOf } from '../inet/family.ts';
import type { Network } from '../inet/network.ts';
import type { Link } from '../netlink/link.ts';
import type { HostFacts, HostInterface } from './facts.ts';

/** The interfaces that clients' packets may come in by, in this network namespace, and their families. */
export async function readWays(
  config: Config | undefined,
): Promise<Pick<HostFacts, 'families' | 'interfaces' | 'looked' | 'ways'>> {
  const links = await readLinks();
  const addresses = reachableAddresses();
  const interfaces = links
    .filter(({ name }) => name !== 'lo')
    .map(link => toInterface(link, addresses.get(link.name) ?? []));
  const looked = lookedAt(config?.interfaces ?? [], links, addresses);
  const named = config?.interfaces.length ? interfaces.filter(({ name }) => looked.at.includes(name)) : [];
  const ways = named.length > 0 ? named : waysIn(interfaces);
  const has = (family: Family) => ways.some(({ addresses }) => addresses[family]);
  return { interfaces, looked, ways, families: FAMILIES.filter(has) };
}

/** The interface with the addresses that others can reach. There may be none. */
function toInterface({ name, index }: Link, usable: readonly NetworkInterfaceInfo[]): HostInterface {
  const first = (family: Family) => usable.find(it => it.family.toLowerCase() === family)?.address;
  const [ipv4, ipv6] = [first('ipv4'), first('ipv6')];
  return {
    name,
    index,
    addresses: { ...(ipv4 && { ipv4: parseAddress(ipv4) }), ...(ipv6 && { ipv6: parseAddress(ipv6) }) },
    networks: usable.flatMap(networkOf),
  };
}

function networkOf({ address, cidr }: NetworkInterfaceInfo): Network[] {
  const length = Number(cidr?.split('/')[1]);
  const bytes = parseAddress(address);
  return cidr === null ? [] : [{ family: familyOf(bytes), address: masked(bytes, length), length }];
}

/** The interfaces of default routes, or all with addresses if there are none. */
function waysIn(interfaces: readonly HostInterface[]): readonly HostInterface[] {
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
