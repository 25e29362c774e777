import { required } from '../../netlink/attributes.ts';
import type { Codec } from './codec.ts';

/** Drops the packet and answers it with a TCP reset, or with ICMP or ICMPv6 to match the packet. */
export interface Reject {
  readonly kind: 'reject';
  readonly with: 'tcp reset' | IcmpAnswer;
}

type IcmpAnswer = 'port unreachable' | 'admin prohibited';

/** enum nft_reject_attributes, nft_reject_types and nft_reject_inet_code */
export const NFTA_REJECT = { TYPE: 1, ICMP_CODE: 2 } as const;
const NFT_REJECT_TCP_RST = 1;
const NFT_REJECT_ICMPX_UNREACH = 2;
const NFT_REJECT_ICMPX = { 'port unreachable': 1, 'admin prohibited': 3 } as const;

const TEXT = {
  'tcp reset': 'reject with tcp reset',
  'port unreachable': 'reject',
  'admin prohibited': 'reject with icmpx admin-prohibited',
} as const;

export const reject: Codec<Reject> = {
  encode(writer, expression) {
    const answer = expression.with;
    const reset = answer === 'tcp reset';
    writer.be32(NFTA_REJECT.TYPE, reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    writer.u8(NFTA_REJECT.ICMP_CODE, reset ? 0 : NFT_REJECT_ICMPX[answer]);
  },
  decode(reader) {
    let type: number | undefined;
    let code = 0;
    while (reader.next()) {
      if (reader.type === NFTA_REJECT.TYPE) type = reader.be32();
      else if (reader.type === NFTA_REJECT.ICMP_CODE) code = reader.u8();
    }
    if (required(type, 'reject type') === NFT_REJECT_TCP_RST) return { kind: 'reject', with: 'tcp reset' };
    if (type !== NFT_REJECT_ICMPX_UNREACH) return undefined;
    const answers = ['port unreachable', 'admin prohibited'] as const;
    const answer = answers.find(it => NFT_REJECT_ICMPX[it] === code);
    return answer && { kind: 'reject', with: answer };
  },
  text(expression, rule) {
    rule.say(TEXT[expression.with]);
  },
};
