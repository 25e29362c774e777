import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/**
 * Looks for the packet's socket and loads, in one byte, whether it is bound to any address (1) or to one (0). Without a
 * socket the rule ends.
 */
export interface Socket {
  readonly kind: 'socket';
  readonly key: 'wildcard';
  readonly dreg: Register;
}

/** enum nft_socket_attributes and nft_socket_keys */
const NFTA_SOCKET = { KEY: 1, DREG: 2, LEVEL: 3 } as const;
const NFT_SOCKET_WILDCARD = 2;

export const socket: Codec<Socket> = {
  encode(writer, { dreg }) {
    writer.be32(NFTA_SOCKET.KEY, NFT_SOCKET_WILDCARD);
    writer.be32(NFTA_SOCKET.DREG, encodeRegister(dreg));
  },
  decode(reader) {
    let key: number | undefined;
    let dreg: number | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_SOCKET.KEY) key = reader.be32();
      else if (reader.type === NFTA_SOCKET.DREG) dreg = reader.be32();
    }
    if (key !== NFT_SOCKET_WILDCARD) return undefined;
    return { kind: 'socket', key: 'wildcard', dreg: decodeRegister(required(dreg, 'socket register')) };
  },
  text({ dreg }, rule) {
    rule.load(dreg, { text: 'socket wildcard', type: DATATYPES.byte });
  },
};
