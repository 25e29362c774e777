import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/** Loads what connection tracking knows of the packet: a mask of bits in host order, or one byte for the direction. */
export interface Ct {
  readonly kind: 'ct';
  readonly key: keyof typeof CT_KEYS;
  readonly dreg: Register;
}

/** enum nft_ct_keys */
export const NFT_CT = {
  STATE: 0,
  DIRECTION: 1,
  STATUS: 2,
  MARK: 3,
  HELPER: 6,
  L3PROTOCOL: 7,
  PROTOCOL: 10,
  PROTO_SRC: 11,
  PROTO_DST: 12,
  ZONE: 17,
} as const;
/** The keys that this program writes. */
export const CT_KEYS = { state: NFT_CT.STATE, direction: NFT_CT.DIRECTION, status: NFT_CT.STATUS } as const;
const KEY_NAMES = new Map<number, Ct['key']>(
  Object.entries(CT_KEYS).map(([name, key]) => [key, name as Ct['key']]),
);
const TYPES = {
  state: DATATYPES.ct_state,
  direction: DATATYPES.ct_dir,
  status: DATATYPES.ct_status,
} as const;
/** enum nft_ct_attributes */
export const NFTA_CT = { DREG: 1, KEY: 2, DIRECTION: 3, SREG: 4 } as const;

export const ct: Codec<Ct> = {
  encode(writer, { key, dreg }) {
    writer.be32(NFTA_CT.KEY, CT_KEYS[key]);
    writer.be32(NFTA_CT.DREG, encodeRegister(dreg));
  },
  decode(reader) {
    let dreg: number | undefined;
    let number: number | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_CT.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_CT.KEY) number = reader.be32();
      else return undefined;
    }
    const key = KEY_NAMES.get(required(number, 'ct key'));
    if (key === undefined) return undefined;
    return { kind: 'ct', key, dreg: decodeRegister(required(dreg, 'ct register')) };
  },
  text({ key, dreg }, rule) {
    rule.load(dreg, { text: `ct ${key}`, type: TYPES[key] });
  },
};
