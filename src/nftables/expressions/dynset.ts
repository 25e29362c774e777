import { formatDuration } from '../../inet/duration.ts';
import { required } from '../../netlink/attributes.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import { type Codec, NFTA_EXPR } from './codec.ts';
import { type Limit, limit, limitText } from './limit.ts';

/**
 * Changes a set from the packet path. `update` refreshes the time-out of an existing element and keeps its data. `add` leaves
 * it as it is. `delete` goes on whether or not there was one. If the set is full, the rule ends here.
 */
export interface Dynset {
  readonly kind: 'dynset';
  readonly op: (typeof OPS)[number];
  readonly set: string;
  readonly key: Register;
  /** For maps: the data of the element. */
  readonly data?: Register;
  /** In milliseconds. */
  readonly timeout?: number;
  /** Kept with each element. The rule goes on only while the limit allows. */
  readonly limit?: Limit;
}

/** enum nft_dynset_ops, in its order; enum nft_dynset_attributes; enum nft_dynset_flags */
const OPS = ['add', 'update', 'delete'] as const;
export const NFTA_DYNSET = {
  SET_NAME: 1,
  SET_ID: 2,
  OP: 3,
  SREG_KEY: 4,
  SREG_DATA: 5,
  TIMEOUT: 6,
  EXPR: 7,
  FLAGS: 9,
  EXPRESSIONS: 10,
} as const;
const NFT_DYNSET_F_EXPR = 2;

export const dynset: Codec<Dynset> = {
  encode(writer, expression) {
    writer.be32(NFTA_DYNSET.SREG_KEY, encodeRegister(expression.key));
    if (expression.data !== undefined) writer.be32(NFTA_DYNSET.SREG_DATA, encodeRegister(expression.data));
    writer.be32(NFTA_DYNSET.OP, OPS.indexOf(expression.op));
    if (expression.timeout !== undefined) writer.be64(NFTA_DYNSET.TIMEOUT, BigInt(expression.timeout));
    writer.string(NFTA_DYNSET.SET_NAME, expression.set);
    const inner = expression.limit;
    if (inner) {
      writer.nested(NFTA_DYNSET.EXPR, nest => {
        nest.string(NFTA_EXPR.NAME, 'limit');
        nest.nested(NFTA_EXPR.DATA, data => limit.encode(data, inner));
      });
    }
  },
  decode(reader) {
    let op: number | undefined;
    let set: string | undefined;
    let key: number | undefined;
    let data: number | undefined;
    let timeout: bigint | undefined;
    let inner: Limit | undefined;
    let known = true;
    while (reader.next()) {
      if (reader.type === NFTA_DYNSET.SET_NAME) set = reader.string();
      else if (reader.type === NFTA_DYNSET.OP) op = reader.be32();
      else if (reader.type === NFTA_DYNSET.SREG_KEY) key = reader.be32();
      else if (reader.type === NFTA_DYNSET.SREG_DATA) data = reader.be32();
      else if (reader.type === NFTA_DYNSET.TIMEOUT) timeout = reader.be64();
      else if (reader.type === NFTA_DYNSET.FLAGS) known &&= (reader.be32() & ~NFT_DYNSET_F_EXPR) === 0;
      else if (reader.type === NFTA_DYNSET.EXPRESSIONS) known = false;
      else if (reader.type === NFTA_DYNSET.EXPR) {
        const nest = reader.nested();
        let name = '';
        while (nest.next()) {
          if (nest.type === NFTA_EXPR.NAME) name = nest.string();
          else if (nest.type === NFTA_EXPR.DATA && name === 'limit') inner = limit.decode(nest.nested());
        }
        known &&= inner !== undefined;
      }
    }
    const operation = OPS[required(op, 'dynset operation')];
    if (!known || operation === undefined) return undefined;
    return {
      kind: 'dynset',
      op: operation,
      set: required(set, 'dynset set'),
      key: decodeRegister(required(key, 'dynset key')),
      ...(data !== undefined && { data: decodeRegister(data) }),
      // if there is no time-out, the kernel reports 0
      ...(timeout && { timeout: Number(timeout) }),
      ...(inner && { limit: inner }),
    };
  },
  text({ op, set, key, data, timeout, limit: inner }, rule) {
    const words = [rule.key(key, rule.set(set).types)];
    if (timeout !== undefined) words.push(`timeout ${formatDuration(timeout)}`);
    if (inner) words.push(limitText(inner));
    if (data !== undefined) words.push(':', rule.operand(data, rule.set(set).data));
    rule.say(`${op} @${set} { ${words.join(' ')} }`);
  },
};
