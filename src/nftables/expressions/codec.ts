import type { AttributeReader, AttributeWriter } from '../../netlink/attributes.ts';
import type { RuleText } from '../rule-text.ts';

/** enum nft_expr_attributes */
export const NFTA_EXPR = { NAME: 1, DATA: 2 } as const;

/**
 * How one kind of expression goes to and from the kernel and into nft's words.
 *
 * `encode` writes the content of NFTA_EXPR_DATA, in libnftnl's order, so that we can compare the bytes with nft's own.
 * `decode` reads the same. It throws DecodeError if something is missing, and returns undefined for a variant that this
 * program never writes, which is then kept as unknown. `text` adds to the words of the rule.
 */
export interface Codec<E> {
  readonly encode: (writer: AttributeWriter, expression: E) => void;
  readonly decode: (reader: AttributeReader) => E | undefined;
  readonly text: (expression: E, rule: RuleText) => void;
}
