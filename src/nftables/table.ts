import { type AttributeReader, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { NFT_MSG } from './message.ts';
import { decodeComment, encodeComment } from './userdata.ts';

/** A table of family inet. Its comment is given once and for all when it is made. */
export interface Table {
  readonly name: string;
  readonly comment: string | undefined;
}

/** enum nft_table_attributes */
const NFTA_TABLE = { NAME: 1, FLAGS: 2, USERDATA: 6 } as const;

export function newTable({ name, comment }: Table): Message {
  return {
    type: NFT_MSG.NEWTABLE,
    flags: NLM_F.CREATE,
    subject: `table ${name}`,
    write(writer) {
      writer.string(NFTA_TABLE.NAME, name);
      writer.be32(NFTA_TABLE.FLAGS, 0);
      if (comment !== undefined) writer.bytes(NFTA_TABLE.USERDATA, encodeComment(comment));
    },
  };
}

/** Removes the table and all that is in it. */
export function deleteTable(name: string): Message {
  return {
    type: NFT_MSG.DELTABLE,
    flags: 0,
    subject: `table ${name}`,
    write(writer) {
      writer.string(NFTA_TABLE.NAME, name);
    },
  };
}

/** The request that dumps all tables of the family. */
export const getTables: Message = { type: NFT_MSG.GETTABLE, flags: 0, subject: 'tables', write() {} };

export function decodeTable(reader: AttributeReader): Table {
  let name: string | undefined;
  let comment: string | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_TABLE.NAME) name = reader.string();
    else if (reader.type === NFTA_TABLE.USERDATA) comment = decodeComment(reader.bytes());
  }
  return { name: required(name, 'table name'), comment };
}
