import { type AttributeReader, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import type { Part } from '../netlink/errors.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { type Change, change } from './change.ts';
import { type Expression, readExpressions, sameExpression, writeExpressions } from './expression.ts';
import { NFT_MSG } from './message.ts';
import type { Rule } from './ruleset.ts';
import { decodeComment, encodeComment } from './userdata.ts';

/** enum nft_rule_attributes */
const NFTA_RULE = { TABLE: 1, CHAIN: 2, HANDLE: 3, EXPRESSIONS: 4, USERDATA: 7 } as const;

/** Appends a rule to a chain. `number` is its position for errors, from 1. */
export function newRule(table: string, chain: string, rule: Rule, number: number): Change {
  return change(
    'add',
    table,
    { kind: 'rule', chain, rule, number },
    {
      type: NFT_MSG.NEWRULE,
      flags: NLM_F.CREATE | NLM_F.APPEND,
      write(writer) {
        writer.string(NFTA_RULE.TABLE, table);
        writer.string(NFTA_RULE.CHAIN, chain);
        writeExpressions(writer, NFTA_RULE.EXPRESSIONS, rule.expressions);
        if (rule.comment !== undefined) writer.bytes(NFTA_RULE.USERDATA, encodeComment(rule.comment));
      },
      partAt(reader, offset) {
        while (reader.next())
          if (reader.type === NFTA_RULE.EXPRESSIONS && offset >= reader.offset)
            return expressionAt(reader.nested(), offset, rule);
        return undefined;
      },
    },
  );
}

/** The expression that has the byte at `offset`. */
function expressionAt(list: AttributeReader, offset: number, { expressions }: Rule): Part | undefined {
  for (const [index, { kind }] of expressions.entries())
    if (list.next() && offset < list.offset + list.size) return { name: `expression ${index + 1}`, kind };
  return undefined;
}

/** The request that dumps all rules of a table, or of one of its chains. */
export function getRules(table: string, chain?: string): Message {
  return {
    type: NFT_MSG.GETRULE,
    flags: 0,
    subject: `rules of table ${table}`,
    write(writer) {
      writer.string(NFTA_RULE.TABLE, table);
      if (chain !== undefined) writer.string(NFTA_RULE.CHAIN, chain);
    },
  };
}

/** Removes all rules of a chain. */
export function flushChain(table: string, chain: string): Change {
  return change(
    'flush',
    table,
    { kind: 'rules', chain },
    {
      type: NFT_MSG.DELRULE,
      flags: 0,
      write(writer) {
        writer.string(NFTA_RULE.TABLE, table);
        writer.string(NFTA_RULE.CHAIN, chain);
      },
    },
  );
}

export function decodeRule(
  reader: AttributeReader,
): Rule & { readonly table: string; readonly chain: string } {
  let table: string | undefined;
  let chain: string | undefined;
  let expressions: Expression[] = [];
  let comment: string | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_RULE.TABLE) table = reader.string();
    else if (reader.type === NFTA_RULE.CHAIN) chain = reader.string();
    else if (reader.type === NFTA_RULE.EXPRESSIONS) expressions = readExpressions(reader.nested());
    else if (reader.type === NFTA_RULE.USERDATA) comment = decodeComment(reader.bytes());
  }
  return {
    table: required(table, 'table of rule'),
    chain: required(chain, 'chain of rule'),
    expressions,
    ...(comment !== undefined && { comment }),
  };
}

/** The number that the kernel gave to a rule. Traces refer to rules by it. */
export function decodeHandle(reader: AttributeReader): bigint | undefined {
  while (reader.next()) if (reader.type === NFTA_RULE.HANDLE) return reader.be64();
  return undefined;
}

/** Whether the kernel would treat both alike, and nft would print them alike. */
export function sameRule(a: Rule, b: Rule): boolean {
  if (a === b) return true;
  return (
    a.comment === b.comment &&
    a.expressions.length === b.expressions.length &&
    a.expressions.every((expression, index) => {
      const other = b.expressions[index];
      return other !== undefined && sameExpression(expression, other);
    })
  );
}
