import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/** Loads a property of the packet, or sets it (`sreg`). */
export type Meta =
  | { readonly kind: 'meta'; readonly key: MetaKey; readonly dreg: Register }
  | { readonly kind: 'meta'; readonly key: MetaKey; readonly sreg: Register };

export type MetaKey = keyof typeof KEYS;

/** enum nft_meta_keys */
const KEYS = { mark: 3, iif: 4, iifname: 6, skuid: 10, nftrace: 12, nfproto: 15, l4proto: 16 } as const;
const KEY_NAMES = new Map<number, MetaKey>(Object.entries(KEYS).map(([name, key]) => [key, name as MetaKey]));
/** enum nft_meta_attributes */
const NFTA_META = { DREG: 1, KEY: 2, SREG: 3 } as const;

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
      writer.be32(NFTA_META.KEY, KEYS[expression.key]);
      writer.be32(NFTA_META.DREG, encodeRegister(expression.dreg));
    } else {
      writer.be32(NFTA_META.KEY, KEYS[expression.key]);
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
