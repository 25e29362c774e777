import { type AttributeReader, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { type Change, change } from './change.ts';
import { NFT_MSG, NFT_OBJECT_COUNTER } from './message.ts';
import type { NamedCounter } from './ruleset.ts';

/** enum nft_object_attributes and nft_counter_attributes */
const NFTA_OBJ = { TABLE: 1, NAME: 2, TYPE: 3, DATA: 4 } as const;
const NFTA_COUNTER = { BYTES: 1, PACKETS: 2 } as const;

export function newCounter(table: string, counter: NamedCounter): Change {
  const { name, packets, bytes } = counter;
  return change(
    'add',
    table,
    { kind: 'counter', counter },
    {
      type: NFT_MSG.NEWOBJ,
      flags: NLM_F.CREATE,
      write(writer) {
        writer.string(NFTA_OBJ.TABLE, table);
        writer.string(NFTA_OBJ.NAME, name);
        writer.be32(NFTA_OBJ.TYPE, NFT_OBJECT_COUNTER);
        writer.nested(NFTA_OBJ.DATA, nest => {
          nest.be64(NFTA_COUNTER.BYTES, BigInt(bytes));
          nest.be64(NFTA_COUNTER.PACKETS, BigInt(packets));
        });
      },
    },
  );
}

export function deleteCounter(table: string, name: string): Change {
  return change(
    'delete',
    table,
    { kind: 'counter', counter: { name } },
    {
      type: NFT_MSG.DELOBJ,
      flags: 0,
      write(writer) {
        writer.string(NFTA_OBJ.TABLE, table);
        writer.string(NFTA_OBJ.NAME, name);
        writer.be32(NFTA_OBJ.TYPE, NFT_OBJECT_COUNTER);
      },
    },
  );
}

/** The request that dumps all named objects of a table. */
export function getCounters(table: string): Message {
  return {
    type: NFT_MSG.GETOBJ,
    flags: 0,
    subject: `counters of table ${table}`,
    write(writer) {
      writer.string(NFTA_OBJ.TABLE, table);
    },
  };
}

/** The counter; undefined for another kind of object. */
export function decodeCounter(
  reader: AttributeReader,
): (NamedCounter & { readonly table: string }) | undefined {
  let table: string | undefined;
  let name: string | undefined;
  let type: number | undefined;
  let packets = 0;
  let bytes = 0;
  while (reader.next()) {
    if (reader.type === NFTA_OBJ.TABLE) table = reader.string();
    else if (reader.type === NFTA_OBJ.NAME) name = reader.string();
    else if (reader.type === NFTA_OBJ.TYPE) type = reader.be32();
    else if (reader.type === NFTA_OBJ.DATA && type === NFT_OBJECT_COUNTER) {
      const data = reader.nested();
      while (data.next()) {
        if (data.type === NFTA_COUNTER.PACKETS) packets = Number(data.be64());
        else if (data.type === NFTA_COUNTER.BYTES) bytes = Number(data.be64());
      }
    }
  }
  if (type !== NFT_OBJECT_COUNTER) return undefined;
  return { table: required(table, 'table of counter'), name: required(name, 'counter name'), packets, bytes };
}
