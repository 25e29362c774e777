import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/** Asks the routing table for the type of the destination address (RTN_LOCAL …), 4 bytes in host order. */
export interface Fib {
  readonly kind: 'fib';
  readonly result: 'daddr type';
  readonly dreg: Register;
}

/** enum nft_fib_attributes, nft_fib_result and nft_fib_flags */
export const NFTA_FIB = { DREG: 1, RESULT: 2, FLAGS: 3 } as const;
export const NFT_FIB_RESULT = { OIF: 1, OIFNAME: 2, ADDRTYPE: 3 } as const;
export const NFTA_FIB_F = { DADDR: 2, PRESENT: 32 } as const;

export const fib: Codec<Fib> = {
  encode(writer, { dreg }) {
    writer.be32(NFTA_FIB.FLAGS, NFTA_FIB_F.DADDR);
    writer.be32(NFTA_FIB.RESULT, NFT_FIB_RESULT.ADDRTYPE);
    writer.be32(NFTA_FIB.DREG, encodeRegister(dreg));
  },
  decode(reader) {
    let dreg: number | undefined;
    let result: number | undefined;
    let flags: number | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_FIB.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_FIB.RESULT) result = reader.be32();
      else if (reader.type === NFTA_FIB.FLAGS) flags = reader.be32();
    }
    if (result !== NFT_FIB_RESULT.ADDRTYPE || flags !== NFTA_FIB_F.DADDR) return undefined;
    return { kind: 'fib', result: 'daddr type', dreg: decodeRegister(required(dreg, 'fib register')) };
  },
  text({ dreg }, rule) {
    rule.load(dreg, { text: 'fib daddr type', type: DATATYPES.fib_addrtype });
  },
};
