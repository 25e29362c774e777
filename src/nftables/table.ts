import { type AttributeReader, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import { type Message, NFPROTO } from '../netlink/nfnetlink.ts';
import { type Change, change } from './change.ts';
import { NFT_MSG } from './message.ts';
import type { Table } from './ruleset.ts';
import { decodeComment, encodeComment } from './userdata.ts';

/** enum nft_table_attributes */
const NFTA_TABLE = { NAME: 1, FLAGS: 2, HANDLE: 4, USERDATA: 6 } as const;
const NFT_TABLE_F_DORMANT = 1;
const NFT_TABLE_F_OWNER = 2;

/** The families of tables, by nft's words. */
export const TABLE_FAMILY = {
  inet: NFPROTO.INET,
  ip: NFPROTO.IPV4,
  ip6: NFPROTO.IPV6,
  arp: NFPROTO.ARP,
  bridge: NFPROTO.BRIDGE,
  netdev: NFPROTO.NETDEV,
} as const;

/** Makes a table, or wakes a dormant one. */
export function newTable(table: Table): Change {
  const { name, comment, owner } = table;
  return change(
    'add',
    name,
    { kind: 'table', table },
    {
      type: NFT_MSG.NEWTABLE,
      flags: NLM_F.CREATE,
      write(writer) {
        writer.string(NFTA_TABLE.NAME, name);
        writer.be32(NFTA_TABLE.FLAGS, owner ? NFT_TABLE_F_OWNER : 0);
        if (comment !== undefined) writer.bytes(NFTA_TABLE.USERDATA, encodeComment(comment));
      },
    },
  );
}

/** Removes the table and all that is in it. */
export function deleteTable(name: string): Change {
  return change(
    'delete',
    name,
    { kind: 'table', table: { name, comment: undefined } },
    {
      type: NFT_MSG.DELTABLE,
      flags: 0,
      write(writer) {
        writer.string(NFTA_TABLE.NAME, name);
      },
    },
  );
}

/** The request that dumps all tables of the family. */
export const getTables: Message = { type: NFT_MSG.GETTABLE, flags: 0, subject: 'tables', write() {} };

export function decodeTable(reader: AttributeReader): Table {
  let name: string | undefined;
  let comment: string | undefined;
  let flags = 0;
  let handle: bigint | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_TABLE.NAME) name = reader.string();
    else if (reader.type === NFTA_TABLE.FLAGS) flags = reader.be32();
    else if (reader.type === NFTA_TABLE.HANDLE) handle = reader.be64();
    else if (reader.type === NFTA_TABLE.USERDATA) comment = decodeComment(reader.bytes());
  }
  const dormant = (flags & NFT_TABLE_F_DORMANT) !== 0;
  const owner = (flags & NFT_TABLE_F_OWNER) !== 0;
  return {
    name: required(name, 'table name'),
    comment,
    ...(dormant && { dormant }),
    ...(owner && { owner }),
    ...(handle !== undefined && { handle }),
  };
}
