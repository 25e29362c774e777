import { AttributeWriter, attributesBehind } from './attributes.ts';
import { type Connection, wholeDump } from './connection.ts';

// include/uapi/linux/rtnetlink.h and if_link.h
export const RTM_GETLINK = 18;
/** `struct ifinfomsg {u8 family, pad; u16 type; i32 index; u32 flags, change}` */
export const IFINFOMSG = 16;
export const IFINFOMSG_INDEX = 4;
export const IFLA = {
  IFNAME: 3,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  EXT_MASK: 29,
  XDP: 43,
  PROP_LIST: 52,
  ALT_IFNAME: 53,
} as const;
const IFLA_INFO = { KIND: 1, SLAVE_KIND: 4 } as const;
const IFLA_XDP_ATTACHED = 2;
const RTEXT_FILTER_SKIP_STATS = 8;

/** A network interface, and its relation to others. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Alternative names. `ip` takes them, nftables does not. */
  readonly otherNames: readonly string[];
  /** `bridge`, `vlan`, `veth`; undefined for hardware and the loopback. */
  readonly kind: string | undefined;
  /** The index of the interface that it is a port of, and the kind of that one: `bridge`, `bond`, `vrf`. */
  readonly master: number | undefined;
  readonly masterKind: string | undefined;
  /** The index of the interface below it: for a VLAN, its parent. For a veth, the other end. */
  readonly lower: number | undefined;
  /** Whether an XDP program sees its packets before the rest of the kernel. */
  readonly hasXdp: boolean;
}

/** All interfaces of this network namespace, on a socket of family NETLINK_ROUTE. Needs no privileges. */
export async function readLinks(routes: Connection): Promise<readonly Link[]> {
  const writer = new AttributeWriter();
  writer.raw(Buffer.alloc(IFINFOMSG));
  const mask = Buffer.alloc(4);
  mask.writeUInt32LE(RTEXT_FILTER_SKIP_STATS);
  writer.bytes(IFLA.EXT_MASK, mask);
  const request = { type: RTM_GETLINK, flags: 0, subject: 'interfaces', payload: writer.finish() };
  return (await wholeDump(routes, request)).map(({ payload }) => decodeLink(payload));
}

function decodeLink(payload: Buffer): Link {
  const reader = attributesBehind(payload, IFINFOMSG);
  const found = {
    index: payload.readInt32LE(IFINFOMSG_INDEX),
    name: '',
    otherNames: [] as string[],
    kind: undefined as string | undefined,
    master: undefined as number | undefined,
    masterKind: undefined as string | undefined,
    lower: undefined as number | undefined,
    hasXdp: false,
  };
  while (reader.next())
    switch (reader.type) {
      case IFLA.IFNAME:
        found.name = reader.string();
        break;
      case IFLA.MASTER:
        found.master = reader.u32();
        break;
      case IFLA.LINK:
        found.lower = reader.u32();
        break;
      case IFLA.XDP: {
        const xdp = reader.nested();
        while (xdp.next()) if (xdp.type === IFLA_XDP_ATTACHED) found.hasXdp ||= xdp.u8() !== 0;
        break;
      }
      case IFLA.PROP_LIST: {
        const names = reader.nested();
        while (names.next()) if (names.type === IFLA.ALT_IFNAME) found.otherNames.push(names.string());
        break;
      }
      case IFLA.LINKINFO: {
        const info = reader.nested();
        while (info.next()) {
          if (info.type === IFLA_INFO.KIND) found.kind = info.string();
          else if (info.type === IFLA_INFO.SLAVE_KIND) found.masterKind = info.string();
        }
        break;
      }
    }
  return found;
}
