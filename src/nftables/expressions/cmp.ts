import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import { readValue, writeData } from '../verdict.ts';
import type { Codec } from './codec.ts';

/** Goes on with the rule only if comparing the register with `value`, byte by byte, gives true. */
export interface Cmp {
  readonly kind: 'cmp';
  readonly sreg: Register;
  readonly op: (typeof OPS)[number];
  readonly value: Buffer;
}

/** enum nft_cmp_ops, in its order */
const OPS = ['eq', 'neq', 'lt', 'lte', 'gt', 'gte'] as const;
const SIGNS = { eq: '', neq: '!= ', lt: '< ', lte: '<= ', gt: '> ', gte: '>= ' } as const;
/** enum nft_cmp_attributes */
const NFTA_CMP = { SREG: 1, OP: 2, DATA: 3 } as const;

export const cmp: Codec<Cmp> = {
  encode(writer, { sreg, op, value }) {
    writer.be32(NFTA_CMP.SREG, encodeRegister(sreg));
    writer.be32(NFTA_CMP.OP, OPS.indexOf(op));
    writeData(writer, NFTA_CMP.DATA, value);
  },
  decode(reader) {
    let sreg: number | undefined;
    let op: number | undefined;
    let value: Buffer | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_CMP.SREG) sreg = reader.be32();
      else if (reader.type === NFTA_CMP.OP) op = reader.be32();
      else if (reader.type === NFTA_CMP.DATA) value = readValue(reader.nested());
    }
    return {
      kind: 'cmp',
      sreg: decodeRegister(required(sreg, 'cmp register')),
      op: required(OPS[required(op, 'cmp operator')], 'known cmp operator'),
      value: required(value, 'cmp value'),
    };
  },
  text({ sreg, op, value }, rule) {
    const { text, type, mask } = rule.loaded(sreg);
    // nft writes `ct state & established != 0` as `ct state established`
    if (
      mask &&
      op === 'neq' &&
      value.every(byte => byte === 0) &&
      (type === DATATYPES.ct_state || type === DATATYPES.ct_status)
    ) {
      rule.say(`${text} ${type.text(mask)}`);
      return;
    }
    if (op === 'eq' && (type === DATATYPES.nf_proto || type === DATATYPES.inet_proto)) {
      rule.learn(type.text(value), `${text} ${type.text(value)}`);
      return;
    }
    if (mask) {
      const several = type === DATATYPES.tcp_flag || type === DATATYPES.ct_status;
      const masked = several ? `(${type.text(mask).replaceAll(',', ' | ')})` : type.text(mask);
      rule.say(`${text} & ${masked} ${SIGNS[op] || '== '}${type.text(value)}`);
      return;
    }
    rule.say(`${text} ${SIGNS[op]}${type.text(value)}`);
  },
};
