import { required } from '../../netlink/attributes.ts';
import type { Codec } from './codec.ts';

/** Goes on at most `rate` times a `unit`, after `burst` at once: a token bucket of packets. */
export interface Limit {
  readonly kind: 'limit';
  readonly rate: number;
  readonly unit: keyof typeof UNITS;
  readonly burst: number;
}

/** Seconds, by nft's word. */
const UNITS = { second: 1, minute: 60, hour: 3600, day: 86400, week: 604800 } as const;
const UNIT_NAMES = new Map<number, Limit['unit']>(
  Object.entries(UNITS).map(([name, seconds]) => [seconds, name as Limit['unit']]),
);
/** enum nft_limit_attributes; enum nft_limit_type; enum nft_limit_flags */
export const NFTA_LIMIT = { RATE: 1, UNIT: 2, BURST: 3, TYPE: 4, FLAGS: 5 } as const;
const NFT_LIMIT_PKTS = 0;

export const limit: Codec<Limit> = {
  encode(writer, { rate, unit, burst }) {
    writer.be64(NFTA_LIMIT.RATE, BigInt(rate));
    writer.be64(NFTA_LIMIT.UNIT, BigInt(UNITS[unit]));
    writer.be32(NFTA_LIMIT.BURST, burst);
    writer.be32(NFTA_LIMIT.TYPE, NFT_LIMIT_PKTS);
    writer.be32(NFTA_LIMIT.FLAGS, 0);
  },
  decode(reader) {
    let rate: bigint | undefined;
    let seconds: bigint | undefined;
    let burst = 0;
    let type = NFT_LIMIT_PKTS;
    let flags = 0;
    while (reader.next()) {
      if (reader.type === NFTA_LIMIT.RATE) rate = reader.be64();
      else if (reader.type === NFTA_LIMIT.UNIT) seconds = reader.be64();
      else if (reader.type === NFTA_LIMIT.BURST) burst = reader.be32();
      else if (reader.type === NFTA_LIMIT.TYPE) type = reader.be32();
      else if (reader.type === NFTA_LIMIT.FLAGS) flags = reader.be32();
    }
    const unit = UNIT_NAMES.get(Number(required(seconds, 'limit unit')));
    if (unit === undefined || type !== NFT_LIMIT_PKTS || flags !== 0) return undefined;
    return { kind: 'limit', rate: Number(required(rate, 'limit rate')), unit, burst };
  },
  text(expression, rule) {
    rule.say(limitText(expression));
  },
};

/** A limit in nft's words, as it stands in a rule and in a dynset. */
export function limitText({ rate, unit, burst }: Limit): string {
  return `limit rate ${rate}/${unit} burst ${burst} packets`;
}
