import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/** Loads a property of the packet, or sets it (`sreg`). */
export type Meta =
  | { readonly kind: 'meta'; readonly key: MetaKey; readonly dreg: Register }
  | { readonly kind: 'meta'; readonly key: MetaKey; readonly sreg: Register };

type MetaKey = keyof typeof META_KEYS;

/** enum nft_meta_keys */
export const NFT_META = {
  LEN: 0,
  PROTOCOL: 1,
  PRIORITY: 2,
  MARK: 3,
  IIF: 4,
  OIF: 5,
  IIFNAME: 6,
  OIFNAME: 7,
  IIFTYPE: 8,
  SKUID: 10,
  SKGID: 11,
  NFTRACE: 12,
  NFPROTO: 15,
  L4PROTO: 16,
  PKTTYPE: 19,
  IIFGROUP: 21,
  SECPATH: 25,
} as const;
/** The keys that this program writes. */
export const META_KEYS = {
  mark: NFT_META.MARK,
  iif: NFT_META.IIF,
  iifname: NFT_META.IIFNAME,
  skuid: NFT_META.SKUID,
  nftrace: NFT_META.NFTRACE,
  nfproto: NFT_META.NFPROTO,
  l4proto: NFT_META.L4PROTO,
} as const;
const KEY_NAMES = new Map<number, MetaKey>(
  Object.entries(META_KEYS).map(([name, key]) => [key, name as MetaKey]),
);
/** enum nft_meta_attributes */
export const NFTA_META = { DREG: 1, KEY: 2, SREG: 3 } as const;

const OPERANDS = {
  mark: { text: 'meta mark', type: DATATYPES.mark },
  iif: { text: 'iif', type: DATATYPES.iface_index },
  iifname: { text: 'iifname', type: DATATYPES.ifname },
  nftrace: { text: 'meta nftrace', type: DATATYPES.byte },
  skuid: { text: 'meta skuid', type: DATATYPES.uid },
  nfproto: { text: 'meta nfproto', type: DATATYPES.nf_proto },
  l4proto: { text: 'meta l4proto', type: DATATYPES.inet_proto },
} as const;

export const meta: Codec<Meta> = {
  encode(writer, expression) {
    if ('dreg' in expression) {
      writer.be32(NFTA_META.KEY, META_KEYS[expression.key]);
      writer.be32(NFTA_META.DREG, encodeRegister(expression.dreg));
    } else {
      writer.be32(NFTA_META.KEY, META_KEYS[expression.key]);
      writer.be32(NFTA_META.SREG, encodeRegister(expression.sreg));
    }
  },
  decode(reader) {
    let dreg: number | undefined;
    let sreg: number | undefined;
    let number: number | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_META.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_META.KEY) number = reader.be32();
      else if (reader.type === NFTA_META.SREG) sreg = reader.be32();
    }
    const key = KEY_NAMES.get(required(number, 'meta key'));
    if (key === undefined) return undefined;
    if (sreg !== undefined) return { kind: 'meta', key, sreg: decodeRegister(sreg) };
    return { kind: 'meta', key, dreg: decodeRegister(required(dreg, 'meta register')) };
  },
  text(expression, rule) {
    if ('dreg' in expression) rule.load(expression.dreg, OPERANDS[expression.key]);
    else
      rule.say(
        `${OPERANDS[expression.key].text} set ${rule.operand(expression.sreg, OPERANDS[expression.key].type)}`,
      );
  },
};
