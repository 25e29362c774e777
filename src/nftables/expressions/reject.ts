import { required } from '../../netlink/attributes.ts';
import type { Codec } from './codec.ts';

/** Drops the packet and answers it: with a TCP reset, or that the port is unreachable (ICMP or ICMPv6). */
export interface Reject {
  readonly kind: 'reject';
  readonly with: 'tcp reset' | 'port unreachable';
}

/** enum nft_reject_attributes, nft_reject_types and nft_reject_inet_code */
const NFTA_REJECT = { TYPE: 1, ICMP_CODE: 2 } as const;
const NFT_REJECT_TCP_RST = 1;
const NFT_REJECT_ICMPX_UNREACH = 2;
const NFT_REJECT_ICMPX_PORT_UNREACH = 1;

export const reject: Codec<Reject> = {
  encode(writer, expression) {
    const reset = expression.with === 'tcp reset';
    writer.be32(NFTA_REJECT.TYPE, reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    writer.u8(NFTA_REJECT.ICMP_CODE, reset ? 0 : NFT_REJECT_ICMPX_PORT_UNREACH);
  },
  decode(reader) {
    let type: number | undefined;
    let code = 0;
    while (reader.next()) {
      if (reader.type === NFTA_REJECT.TYPE) type = reader.be32();
      else if (reader.type === NFTA_REJECT.ICMP_CODE) code = reader.u8();
    }
    if (required(type, 'reject type') === NFT_REJECT_TCP_RST) return { kind: 'reject', with: 'tcp reset' };
    if (type !== NFT_REJECT_ICMPX_UNREACH || code !== NFT_REJECT_ICMPX_PORT_UNREACH) return undefined;
    return { kind: 'reject', with: 'port unreachable' };
  },
  text(expression, rule) {
    rule.say(expression.with === 'tcp reset' ? 'reject with tcp reset' : 'reject');
  },
};
