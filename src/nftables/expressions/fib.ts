import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/** Asks the routing table for the type of an address of the packet (RTN_LOCAL …), 4 bytes in host order. */
export interface Fib {
  readonly kind: 'fib';
  readonly result: 'saddr type' | 'daddr type';
  readonly dreg: Register;
}

/** enum nft_fib_attributes, nft_fib_result and nft_fib_flags */
export const NFTA_FIB = { DREG: 1, RESULT: 2, FLAGS: 3 } as const;
export const NFT_FIB_RESULT = { OIF: 1, OIFNAME: 2, ADDRTYPE: 3 } as const;
export const NFTA_FIB_F = { SADDR: 1, DADDR: 2, PRESENT: 32 } as const;

export const FIB_FLAGS = { 'saddr type': NFTA_FIB_F.SADDR, 'daddr type': NFTA_FIB_F.DADDR } as const;

export const fib: Codec<Fib> = {
  encode(writer, { result, dreg }) {
    writer.be32(NFTA_FIB.FLAGS, FIB_FLAGS[result]);
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
    const known = (['saddr type', 'daddr type'] as const).find(it => FIB_FLAGS[it] === flags);
    if (result !== NFT_FIB_RESULT.ADDRTYPE || !known) return undefined;
    return { kind: 'fib', result: known, dreg: decodeRegister(required(dreg, 'fib register')) };
  },
  text({ result, dreg }, rule) {
    rule.load(dreg, { text: `fib ${result}`, type: DATATYPES.fib_addrtype });
  },
};
