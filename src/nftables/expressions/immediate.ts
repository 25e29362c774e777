import { required } from '../../netlink/attributes.ts';
import { decodeDestination, encodeRegister, type Register, VERDICT } from '../register.ts';
import { type Data, readData, type Verdict, verdictText, writeData } from '../verdict.ts';
import type { Codec } from './codec.ts';

/** Loads a constant, or decides what happens to the packet. */
export type Immediate =
  | { readonly kind: 'immediate'; readonly dreg: Register; readonly value: Buffer }
  | { readonly kind: 'immediate'; readonly verdict: Verdict };

/** enum nft_immediate_attributes */
const NFTA_IMMEDIATE = { DREG: 1, DATA: 2 } as const;

export const immediate: Codec<Immediate> = {
  encode(writer, expression) {
    const [dreg, data] =
      'verdict' in expression
        ? ([VERDICT, expression.verdict] as const)
        : ([expression.dreg, expression.value] as const);
    writer.be32(NFTA_IMMEDIATE.DREG, encodeRegister(dreg));
    writeData(writer, NFTA_IMMEDIATE.DATA, data);
  },
  decode(reader) {
    let dreg: number | undefined;
    let data: Data | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_IMMEDIATE.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_IMMEDIATE.DATA) data = readData(reader.nested());
    }
    const destination = decodeDestination(required(dreg, 'immediate register'));
    const value = required(data, 'immediate data');
    if (Buffer.isBuffer(value))
      return destination === VERDICT ? undefined : { kind: 'immediate', dreg: destination, value };
    return { kind: 'immediate', verdict: value };
  },
  text(expression, rule) {
    if ('verdict' in expression) rule.say(verdictText(expression.verdict));
    else rule.load(expression.dreg, { constant: expression.value });
  },
};
