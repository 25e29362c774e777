import { AttributeReader, DecodeError } from '../netlink/attributes.ts';
import { decodeRegister } from '../nftables/register.ts';
import { readValue } from '../nftables/verdict.ts';

/** Attributes of expressions with iptables' extensions: enum nft_target_attributes and nft_match_attributes (nf_tables_compat.h). */
export const NFTA_XT = { NAME: 1, REV: 2, INFO: 3 } as const;

/** The attributes of an expression, by type. */
export class Fields {
  readonly #values = new Map<number, AttributeReader>();
  readonly #bytes = new Map<number, Buffer>();

  constructor(raw: Buffer) {
    const reader = new AttributeReader(raw);
    while (reader.next()) {
      this.#values.set(reader.type, reader.nested());
      this.#bytes.set(reader.type, reader.bytes());
    }
  }

  has(type: number): boolean {
    return this.#bytes.has(type);
  }

  bytes(type: number): Buffer {
    return this.#bytes.get(type) ?? Buffer.alloc(0);
  }

  text(type: number): string {
    return this.bytes(type).toString('latin1').replace(/\0.*$/s, '');
  }

  number(type: number, otherwise = 0): number {
    return this.#bytes.get(type)?.readUInt32BE(0) ?? otherwise;
  }

  register(type: number) {
    return decodeRegister(this.number(type));
  }

  value(type: number): Buffer {
    const nest = this.#values.get(type);
    if (!nest) throw new DecodeError(`attribute ${type} is missing`);
    return readValue(nest);
  }

  /** The fields of a nest. */
  nested(type: number): Fields {
    return new Fields(this.bytes(type));
  }

  /** The fields of each nest in a list. */
  list(type: number): Fields[] {
    const items: Fields[] = [];
    const reader = this.#values.get(type);
    while (reader?.next()) items.push(new Fields(reader.bytes()));
    return items;
  }
}
