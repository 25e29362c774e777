import { required } from '../../netlink/attributes.ts';
import { decodeDestination, decodeRegister, encodeRegister, type Register, VERDICT } from '../register.ts';
import type { Codec } from './codec.ts';

/**
 * Goes on only if the key that starts at `sreg` is in the set, or with `inverted` only if it is not. With `dreg` it loads the
 * data that a map holds for the key. Only an inverted look-up leaves an element's own limit alone.
 */
export interface Lookup {
  readonly kind: 'lookup';
  readonly set: string;
  readonly sreg: Register;
  readonly dreg?: Register | typeof VERDICT;
  readonly inverted?: true;
}

/** enum nft_lookup_attributes and nft_lookup_flags */
const NFTA_LOOKUP = { SET: 1, SREG: 2, DREG: 3, SET_ID: 4, FLAGS: 5 } as const;
const NFT_LOOKUP_F_INV = 1;

export const lookup: Codec<Lookup> = {
  encode(writer, { set, sreg, dreg, inverted }) {
    writer.be32(NFTA_LOOKUP.SREG, encodeRegister(sreg));
    if (dreg !== undefined) writer.be32(NFTA_LOOKUP.DREG, encodeRegister(dreg));
    writer.string(NFTA_LOOKUP.SET, set);
    if (inverted) writer.be32(NFTA_LOOKUP.FLAGS, NFT_LOOKUP_F_INV);
  },
  decode(reader) {
    let set: string | undefined;
    let sreg: number | undefined;
    let dreg: number | undefined;
    let flags = 0;
    while (reader.next()) {
      if (reader.type === NFTA_LOOKUP.SET) set = reader.string();
      else if (reader.type === NFTA_LOOKUP.SREG) sreg = reader.be32();
      else if (reader.type === NFTA_LOOKUP.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_LOOKUP.FLAGS) flags = reader.be32();
    }
    if ((flags & ~NFT_LOOKUP_F_INV) !== 0) return undefined;
    return {
      kind: 'lookup',
      set: required(set, 'lookup set'),
      sreg: decodeRegister(required(sreg, 'lookup register')),
      ...(dreg !== undefined && { dreg: decodeDestination(dreg) }),
      ...(flags !== 0 && { inverted: true }),
    };
  },
  text({ set, sreg, dreg, inverted }, rule) {
    const { types } = rule.set(set);
    if (dreg === undefined) rule.say(`${rule.key(sreg, types)} ${inverted ? '!= ' : ''}@${set}`);
    else if (dreg === VERDICT) rule.say(`${rule.key(sreg, types)} vmap @${set}`);
    else rule.load(dreg, { text: `${rule.key(sreg, types)} map @${set}`, type: rule.set(set).data });
  },
};
