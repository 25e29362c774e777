import { type AttributeReader, required } from '../netlink/attributes.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { NFT_MSG } from './message.ts';

/** enum nft_flowtable_attributes */
const NFTA_FLOWTABLE = { TABLE: 1, NAME: 2 } as const;

/** The request that dumps all flowtables of a family. */
export const getFlowtables: Message = {
  type: NFT_MSG.GETFLOWTABLE,
  flags: 0,
  subject: 'flowtables',
  write() {},
};

export function decodeFlowtable(reader: AttributeReader): { readonly table: string; readonly name: string } {
  let table: string | undefined;
  let name: string | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_FLOWTABLE.TABLE) table = reader.string();
    else if (reader.type === NFTA_FLOWTABLE.NAME) name = reader.string();
  }
  return { table: required(table, 'table of flowtable'), name: required(name, 'flowtable name') };
}
