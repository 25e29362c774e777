import { AttributeWriter } from './attributes.ts';
import type { Connection } from './connection.ts';
import { NetlinkError } from './errors.ts';
import { AF_INET, AF_INET6 } from './inet.ts';

// include/uapi/linux/rtnetlink.h
const RTM_GETROUTE = 26;
/** `struct rtmsg {u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags}` */
const RTMSG = 12;
const RTMSG_TYPE = 7;
const RTA_DST = 1;
const RTN_LOCAL = 2;

/** Whether an address is this host's own: what `fib daddr type local` asks. On a socket of family NETLINK_ROUTE. */
export async function isLocal(routes: Connection, address: Buffer): Promise<boolean> {
  const writer = new AttributeWriter();
  const header = Buffer.alloc(RTMSG);
  header.writeUInt8(address.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(address.length * 8, 1);
  writer.raw(header);
  writer.bytes(RTA_DST, address);
  const request = { type: RTM_GETROUTE, flags: 0, subject: 'route', payload: writer.finish() };
  try {
    const { payload } = await routes.request(request);
    return payload.length >= RTMSG && payload.readUInt8(RTMSG_TYPE) === RTN_LOCAL;
  } catch (error) {
    if (error instanceof NetlinkError && error.code !== 'EPERM') return false; // no way to there
    throw error;
  }
}
