import { required } from '../../netlink/attributes.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import { readValue, writeData } from '../verdict.ts';
import type { Codec } from './codec.ts';

/** `dreg = sreg & mask`. `mask` has as many bytes as the operands. Shifts and XORs stay unknown here. */
export interface Bitwise {
  readonly kind: 'bitwise';
  readonly sreg: Register;
  readonly dreg: Register;
  readonly mask: Buffer;
}

/** enum nft_bitwise_attributes. NFT_BITWISE_MASK_XOR is 0 and means `dreg = (sreg & mask) ^ xor`. */
export const NFTA_BITWISE = { SREG: 1, DREG: 2, LEN: 3, MASK: 4, XOR: 5, OP: 6 } as const;
export const NFT_BITWISE_MASK_XOR = 0;

export const bitwise: Codec<Bitwise> = {
  encode(writer, { sreg, dreg, mask }) {
    writer.be32(NFTA_BITWISE.SREG, encodeRegister(sreg));
    writer.be32(NFTA_BITWISE.DREG, encodeRegister(dreg));
    writer.be32(NFTA_BITWISE.OP, NFT_BITWISE_MASK_XOR);
    writer.be32(NFTA_BITWISE.LEN, mask.length);
    writeData(writer, NFTA_BITWISE.MASK, mask);
    writeData(writer, NFTA_BITWISE.XOR, Buffer.alloc(mask.length));
  },
  decode(reader) {
    let sreg: number | undefined;
    let dreg: number | undefined;
    let op = NFT_BITWISE_MASK_XOR;
    let mask: Buffer | undefined;
    let xor: Buffer | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_BITWISE.SREG) sreg = reader.be32();
      else if (reader.type === NFTA_BITWISE.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_BITWISE.OP) op = reader.be32();
      else if (reader.type === NFTA_BITWISE.MASK) mask = readValue(reader.nested());
      else if (reader.type === NFTA_BITWISE.XOR) xor = readValue(reader.nested());
    }
    if (op !== NFT_BITWISE_MASK_XOR || xor?.some(byte => byte !== 0)) return undefined;
    return {
      kind: 'bitwise',
      sreg: decodeRegister(required(sreg, 'bitwise source')),
      dreg: decodeRegister(required(dreg, 'bitwise destination')),
      mask: required(mask, 'bitwise mask'),
    };
  },
  text({ sreg, dreg, mask }, rule) {
    rule.load(dreg, { ...rule.loaded(sreg), mask });
  },
};
