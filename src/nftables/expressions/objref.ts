import { required } from '../../netlink/attributes.ts';
import { NFT_OBJECT_COUNTER } from '../message.ts';
import type { Codec } from './codec.ts';

/** Counts in a named counter, which outlives the rule. */
export interface Objref {
  readonly kind: 'objref';
  readonly counter: string;
}

/** enum nft_objref_attributes */
const NFTA_OBJREF = { IMM_TYPE: 1, IMM_NAME: 2 } as const;

export const objref: Codec<Objref> = {
  encode(writer, { counter }) {
    writer.be32(NFTA_OBJREF.IMM_TYPE, NFT_OBJECT_COUNTER);
    writer.string(NFTA_OBJREF.IMM_NAME, counter);
  },
  decode(reader) {
    let type: number | undefined;
    let name: string | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_OBJREF.IMM_TYPE) type = reader.be32();
      else if (reader.type === NFTA_OBJREF.IMM_NAME) name = reader.string();
    }
    if (type !== NFT_OBJECT_COUNTER) return undefined;
    return { kind: 'objref', counter: required(name, 'objref name') };
  },
  text({ counter }, rule) {
    rule.say(`counter name ${counter}`);
  },
};
