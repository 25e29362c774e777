import { type AttributeReader, type AttributeWriter, DecodeError, required } from '../netlink/attributes.ts';

/** The fate of a packet, or the chain in which the evaluation goes on. */
export type Verdict =
  | { readonly code: 'accept' | 'drop' | 'continue' | 'return' }
  | { readonly code: 'jump' | 'goto'; readonly chain: string };

// include/uapi/linux/netfilter.h and netfilter/nf_tables.h, enum nft_verdicts
export const VERDICT_CODES = { drop: 0, accept: 1, continue: -1, jump: -3, goto: -4, return: -5 } as const;
const NAMES = new Map<number, Verdict['code']>(
  Object.entries(VERDICT_CODES).map(([name, code]) => [code, name as Verdict['code']]),
);

/** enum nft_data_attributes and nft_verdict_attributes */
const NFTA_DATA = { VALUE: 1, VERDICT: 2 } as const;
export const NFTA_VERDICT = { CODE: 1, CHAIN: 2 } as const;

/** The contents of a register: bytes, or a verdict. */
export type Data = Buffer | Verdict;

/** An attribute `type` that holds data: a nest with a value or a verdict in it. */
export function writeData(writer: AttributeWriter, type: number, data: Data): void {
  const start = writer.open(type);
  if (Buffer.isBuffer(data)) writer.bytes(NFTA_DATA.VALUE, data);
  else {
    const nest = writer.open(NFTA_DATA.VERDICT);
    writer.be32(NFTA_VERDICT.CODE, VERDICT_CODES[data.code]);
    if ('chain' in data) writer.string(NFTA_VERDICT.CHAIN, data.chain);
    writer.close(nest);
  }
  writer.close(start);
}

export function readData(reader: AttributeReader): Data {
  while (reader.next()) {
    if (reader.type === NFTA_DATA.VALUE) return reader.bytes();
    if (reader.type === NFTA_DATA.VERDICT) return readVerdict(reader.nested());
  }
  throw new DecodeError('data without a value');
}

/** Data that must be bytes, such as a key. */
export function readValue(reader: AttributeReader): Buffer {
  const data = readData(reader);
  if (!Buffer.isBuffer(data)) throw new DecodeError('a verdict where bytes are expected');
  return data;
}

function readVerdict(reader: AttributeReader): Verdict {
  let code: Verdict['code'] | undefined;
  let chain: string | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_VERDICT.CODE) {
      const value = reader.be32() | 0;
      code = NAMES.get(value);
      if (code === undefined) throw new DecodeError(`verdict ${value} is not known`);
    } else if (reader.type === NFTA_VERDICT.CHAIN) chain = reader.string();
  }
  const known = required(code, 'verdict code');
  if (known === 'jump' || known === 'goto')
    return { code: known, chain: required(chain, `chain of ${known}`) };
  return { code: known };
}

export function verdictText(verdict: Verdict): string {
  return 'chain' in verdict ? `${verdict.code} ${verdict.chain}` : verdict.code;
}
