import { type AttributeReader, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { type Change, change } from './change.ts';
import {
  byteOrder,
  DATATYPES,
  type Datatype,
  decodeDatatypes,
  type Expressed,
  encodeDatatypes,
  keySize,
} from './datatype.ts';
import { NFT_MSG } from './message.ts';
import { VERDICT } from './register.ts';
import type { NftSet } from './ruleset.ts';
import { encodeByteOrders, encodeTypeof } from './userdata.ts';

/** enum nft_set_attributes, nft_set_flags, nft_set_desc_attributes */
const NFTA_SET = {
  TABLE: 1,
  NAME: 2,
  FLAGS: 3,
  KEY_TYPE: 4,
  KEY_LEN: 5,
  DATA_TYPE: 6,
  DATA_LEN: 7,
  DESC: 9,
  ID: 10,
  USERDATA: 13,
  COUNT: 20,
} as const;
const NFTA_SET_DESC = { SIZE: 1 } as const;
const NFT_SET = { ANONYMOUS: 1, CONSTANT: 2, INTERVAL: 4, MAP: 8, TIMEOUT: 0x10, EVAL: 0x20 } as const;
const NFT_DATA_VERDICT = 0xffffff00;

export function newSet(table: string, set: NftSet): Change {
  const flags =
    (set.interval ? NFT_SET.INTERVAL : 0) |
    (set.data ? NFT_SET.MAP : 0) |
    (set.timeout ? NFT_SET.TIMEOUT : 0) |
    (set.dynamic ? NFT_SET.EVAL : 0);
  return change(
    'add',
    table,
    { kind: 'set', set },
    {
      type: NFT_MSG.NEWSET,
      flags: NLM_F.CREATE,
      write(writer) {
        writer.string(NFTA_SET.TABLE, table);
        writer.string(NFTA_SET.NAME, set.name);
        writer.be32(NFTA_SET.FLAGS, flags);
        writer.be32(NFTA_SET.KEY_TYPE, encodeDatatypes(set.types));
        writer.be32(NFTA_SET.KEY_LEN, keySize(set.types));
        if (set.data) {
          writer.be32(NFTA_SET.DATA_TYPE, set.data === VERDICT ? NFT_DATA_VERDICT : set.data.code);
          writer.be32(NFTA_SET.DATA_LEN, set.data === VERDICT ? 0 : set.data.size);
        }
        // an identifier within the batch: the kernel demands one, but only rules with anonymous sets would use it
        writer.be32(NFTA_SET.ID, 1);
        const { size } = set;
        if (size !== undefined) writer.nested(NFTA_SET.DESC, nest => nest.be32(NFTA_SET_DESC.SIZE, size));
        writer.bytes(NFTA_SET.USERDATA, encodeUserdata(set));
      },
    },
  );
}

function encodeUserdata({ types, data }: NftSet): Buffer {
  const orders = encodeByteOrders(byteOrder(types), data && byteOrder(data === VERDICT ? [] : [data]));
  const [key, value] = expressedAs({ types, ...(data && { data }) });
  return Buffer.concat([
    orders,
    ...(key ? [encodeTypeof('key', key)] : []),
    ...(value ? [encodeTypeof('data', value)] : []),
  ]);
}

/** The expressions whose values are the set's key and data, if the key's type has no name of its own. */
function expressedAs({ types, data }: Pick<NftSet, 'types' | 'data'>): readonly (Expressed | undefined)[] {
  const [only] = types;
  if (types.length !== 1 || only?.name !== DATATYPES.token.name || !only.of) return [];
  return [only.of, data === VERDICT ? undefined : data?.of];
}

export function deleteSet(table: string, set: NftSet): Change {
  return change(
    'delete',
    table,
    { kind: 'set', set },
    {
      type: NFT_MSG.DELSET,
      flags: 0,
      write(writer) {
        writer.string(NFTA_SET.TABLE, table);
        writer.string(NFTA_SET.NAME, set.name);
      },
    },
  );
}

/** The request that dumps all sets of a table, without elements. */
export function getSets(table: string): Message {
  return {
    type: NFT_MSG.GETSET,
    flags: 0,
    subject: `sets of table ${table}`,
    write(writer) {
      writer.string(NFTA_SET.TABLE, table);
    },
  };
}

export function decodeSet(
  reader: AttributeReader,
): NftSet & { readonly table: string; readonly anonymous: boolean } {
  let table: string | undefined;
  let name: string | undefined;
  let flags = 0;
  let keyType = 0;
  let keyLength = 0;
  let dataType: number | undefined;
  let size: number | undefined;
  let count: number | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_SET.TABLE) table = reader.string();
    else if (reader.type === NFTA_SET.NAME) name = reader.string();
    else if (reader.type === NFTA_SET.FLAGS) flags = reader.be32();
    else if (reader.type === NFTA_SET.KEY_TYPE) keyType = reader.be32();
    else if (reader.type === NFTA_SET.KEY_LEN) keyLength = reader.be32();
    else if (reader.type === NFTA_SET.DATA_TYPE) dataType = reader.be32();
    else if (reader.type === NFTA_SET.COUNT) count = reader.be32();
    else if (reader.type === NFTA_SET.DESC) {
      const desc = reader.nested();
      while (desc.next()) if (desc.type === NFTA_SET_DESC.SIZE) size = desc.be32();
    }
  }
  const data = decodeDataType(dataType);
  return {
    table: required(table, 'table of set'),
    name: required(name, 'set name'),
    types: decodeDatatypes(keyType, keyLength) ?? [],
    ...(flags & NFT_SET.MAP && data && { data }),
    dynamic: (flags & NFT_SET.EVAL) !== 0,
    timeout: (flags & NFT_SET.TIMEOUT) !== 0,
    interval: (flags & NFT_SET.INTERVAL) !== 0,
    anonymous: (flags & NFT_SET.ANONYMOUS) !== 0,
    ...(size && { size }),
    ...(count !== undefined && { count }),
  };
}

function decodeDataType(code: number | undefined): Datatype | typeof VERDICT | undefined {
  if (code === undefined) return undefined;
  if (code === NFT_DATA_VERDICT) return VERDICT;
  return decodeDatatypes(code)?.[0] ?? DATATYPES.integer;
}

/** Whether both have the same type, flags and size, so that the elements of one fit the other. */
export function sameSet(a: NftSet, b: NftSet): boolean {
  if (a === b) return true;
  return (
    a.data === b.data &&
    a.dynamic === b.dynamic &&
    a.timeout === b.timeout &&
    a.interval === b.interval &&
    a.size === b.size &&
    a.types.length === b.types.length &&
    a.types.every((type, index) => type === b.types[index])
  );
}

/** The set's lines in an nft script, without elements. */
export function setText(set: NftSet): string[] {
  const flags = [set.dynamic && 'dynamic', set.timeout && 'timeout', set.interval && 'interval'].filter(
    Boolean,
  );
  const [key, value] = expressedAs(set);
  const data = set.data ? ` : ${value?.text ?? (set.data === VERDICT ? VERDICT : set.data.name)}` : '';
  const type = key ? `typeof ${key.text}` : `type ${set.types.map(({ name }) => name).join(' . ')}`;
  const lines = [`${type}${data}`];
  if (set.size !== undefined) lines.push(`size ${set.size}`);
  if (flags.length > 0) lines.push(`flags ${flags.join(',')}`);
  return lines;
}
