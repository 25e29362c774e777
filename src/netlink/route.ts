import { ADDRESS_TYPE } from '../inet/address.ts';
import { AF, familyOf } from '../inet/family.ts';
import { AttributeWriter, attributesBehind } from './attributes.ts';
import { type Connection, wholeDump } from './connection.ts';
import { NetlinkError } from './errors.ts';
import { IFINFOMSG, IFINFOMSG_INDEX, IFLA, RTM_GETLINK, readLinks } from './link.ts';

// include/uapi/linux/rtnetlink.h
const RTM_GETROUTE = 26;
/** `struct rtmsg {u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags}` */
const RTMSG = 12;
const RTMSG_TYPE = 7;
const RTA = { DST: 1, OIF: 4 } as const;
/** `struct tcmsg {u8 family; u8 pad[3]; i32 ifindex; u32 handle, parent, info}` */
const RTM_GETQDISC = 38;
const TCMSG = 20;
const TCMSG_IFINDEX = 4;
const TCA_KIND = 1;

/** The way of packets to an address. */
interface Route {
  /** Whether the address is this host's own, as `fib daddr type local` asks. */
  readonly isLocal: boolean;
  /** The index of the interface. */
  readonly output: number | undefined;
}

const NOWHERE: Route = { isLocal: false, output: undefined };

/** The route to an address, on a socket of family NETLINK_ROUTE. */
export async function routeTo(routes: Connection, address: Buffer): Promise<Route> {
  const writer = new AttributeWriter();
  const header = Buffer.alloc(RTMSG);
  header.writeUInt8(AF[familyOf(address)], 0);
  header.writeUInt8(address.length * 8, 1);
  writer.raw(header);
  writer.bytes(RTA.DST, address);
  const payload = await ask(routes, RTM_GETROUTE, 'route', writer.finish());
  if (!payload) return NOWHERE;
  const reader = attributesBehind(payload, RTMSG);
  let output: number | undefined;
  while (reader.next()) if (reader.type === RTA.OIF) output = reader.u32();
  return { isLocal: payload.readUInt8(RTMSG_TYPE) === ADDRESS_TYPE.local, output };
}

/** The name of an interface, on a socket of family NETLINK_ROUTE; undefined if it is gone. */
export async function interfaceName(routes: Connection, index: number): Promise<string | undefined> {
  const header = Buffer.alloc(IFINFOMSG);
  header.writeInt32LE(index, IFINFOMSG_INDEX);
  const payload = await ask(routes, RTM_GETLINK, 'interface', header);
  const reader = attributesBehind(payload ?? header, IFINFOMSG);
  while (reader.next()) if (reader.type === IFLA.IFNAME) return reader.string();
  return undefined;
}

/** A program, or a place for some, that sees the packets of an interface before the rest of the kernel. */
interface DeviceHook {
  readonly interface: string;
  readonly program: 'XDP' | 'tc';
}

/** XDP programs, and qdiscs that can hold filters of tc, on a socket of family NETLINK_ROUTE. */
export async function readHooks(routes: Connection): Promise<DeviceHook[]> {
  const links = await readLinks(routes);
  const hooks = links
    .filter(({ hasXdp }) => hasXdp)
    .map(({ name }): DeviceHook => ({ interface: name, program: 'XDP' }));
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const qdiscs = { type: RTM_GETQDISC, flags: 0, subject: 'qdiscs', payload: Buffer.alloc(TCMSG) };
  for (const { payload } of await wholeDump(routes, qdiscs)) {
    const reader = attributesBehind(payload, TCMSG);
    const name = names.get(payload.readInt32LE(TCMSG_IFINDEX));
    while (reader.next())
      if (reader.type === TCA_KIND && name !== undefined && /^(clsact|ingress)$/.test(reader.string()))
        hooks.push({ interface: name, program: 'tc' });
  }
  return hooks;
}

/** The answer; undefined if there is no such object. */
async function ask(
  routes: Connection,
  type: number,
  subject: string,
  payload: Buffer,
): Promise<Buffer | undefined> {
  try {
    return (await routes.request({ type, flags: 0, subject, payload })).payload;
  } catch (error) {
    if (error instanceof NetlinkError && error.code !== 'EPERM') return undefined;
    throw error;
  }
}
