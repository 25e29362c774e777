/**
 * Userdata is opaque to the kernel. For nft it is TLVs `{u8 type, u8 length, value}` (libnftnl/udata.h) with comments, and
 * with the byte orders of a set's key and data. Without those, nft prints marks the wrong way round.
 */

/** NFTNL_UDATA_RULE_COMMENT, _SET_ELEM_COMMENT and _TABLE_COMMENT are 0; _SET_COMMENT and _OBJ_COMMENT are not used here. */
const COMMENT = 0;

/** The longest comment that nft accepts, in bytes. */
export const MAX_COMMENT = 128;

/** Userdata that holds a comment of at most {@link MAX_COMMENT} bytes. */
export function encodeComment(comment: string): Buffer {
  const length = Buffer.byteLength(comment) + 1;
  const userdata = Buffer.alloc(2 + length);
  userdata[0] = COMMENT;
  userdata[1] = length;
  userdata.write(comment, 2);
  return userdata;
}

/** NFTNL_UDATA_SET_KEYBYTEORDER and _DATABYTEORDER, and nft's enum byteorder */
const BYTE_ORDERS_OF = { key: 0, data: 1 } as const;
const BYTE_ORDERS = { none: 0, host: 1, big: 2 } as const;

export type ByteOrder = keyof typeof BYTE_ORDERS;

/** Userdata of a set, or of a map if `data` is given. A concatenation and a verdict have no byte order. */
export function encodeByteOrders(key: ByteOrder, data: ByteOrder | undefined): Buffer {
  const entry = (type: number, order: ByteOrder) => entry32(type, BYTE_ORDERS[order]);
  return Buffer.from([...entry(BYTE_ORDERS_OF.key, key), ...(data ? entry(BYTE_ORDERS_OF.data, data) : [])]);
}

/** NFTNL_UDATA_SET_KEY_TYPEOF and _DATA_TYPEOF. They contain NFTNL_UDATA_SET_TYPEOF_EXPR and _DATA. */
const TYPEOF = { key: 3, data: 4 } as const;
const TYPEOF_EXPR = 0;
const TYPEOF_DATA = 1;

/** Userdata that tells nft which expression has such keys, or a map such data: the expression's type and its fields in order. */
export function encodeTypeof(
  of: keyof typeof TYPEOF,
  { type, fields }: { readonly type: number; readonly fields: readonly number[] },
): Buffer {
  const data = fields.flatMap((value, index) => entry32(index, value));
  const value = [...entry32(TYPEOF_EXPR, type), TYPEOF_DATA, data.length, ...data];
  return Buffer.from([TYPEOF[of], value.length, ...value]);
}

/** A 32-bit number in host order. */
function entry32(type: number, value: number): readonly number[] {
  return [type, 4, value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}

/** The comment; undefined if there is none, or if another program keeps something else in the userdata. */
export function decodeComment(userdata: Buffer): string | undefined {
  for (let at = 0; at + 2 <= userdata.length; ) {
    const length = userdata.readUInt8(at + 1);
    const value = userdata.subarray(at + 2, at + 2 + length);
    if (userdata.readUInt8(at) === COMMENT && value.length === length && length > 0)
      return value.toString('utf8', 0, value.at(-1) === 0 ? length - 1 : length);
    at += 2 + length;
  }
  return undefined;
}
