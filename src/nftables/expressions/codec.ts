import type { AttributeReader, AttributeWriter } from '../../netlink/attributes.ts';
import type { RuleText } from '../rule-text.ts';

/**
 * How one kind of expression goes to and from the kernel and into nft's words.
 *
 * `encode` writes what belongs inside NFTA_EXPR_DATA, in libnftnl's order, so that bytes can be held beside nft's own.
 * `decode` reads the same, throws DecodeError where something is missing, and returns undefined for a variant that
 * this program never writes: the expression is then kept as unknown. `text` adds to the words of the rule.
 */
export interface Codec<E> {
  readonly encode: (writer: AttributeWriter, expression: E) => void;
  readonly decode: (reader: AttributeReader) => E | undefined;
  readonly text: (expression: E, rule: RuleText) => void;
}
