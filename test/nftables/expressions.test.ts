/** Expressions and rules of any kind; `expressions/` has those of each family beside nft's bytes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { KEY } from '../../src/nftables/register.ts';
import { sameRule } from '../../src/nftables/rule.ts';
import type { Rule } from '../../src/nftables/ruleset.ts';
import { ruleText } from '../../src/nftables/text.ts';
import { bytesOf, dump } from '../dump.ts';
import { expression } from './arbitrary.ts';
import { decode, encode, SETS } from './cases.ts';

t.test('attributes that the kernel adds to an expression when it lists it do not matter', t => {
  // NFTA_LOG_SNAPLEN and _QTHRESHOLD of 0, a dynset's time-out and flags of 0, and what a rule's own counter counted
  t.strictSame(
    decode(
      encode([
        {
          kind: 'unknown',
          name: 'log',
          raw: bytesOf(`0000  06000100 00160000
                        0008  0f000200 6f70656e 65642073 73680000
                        0018  08000300 00000000
                        0020  06000400 00000000`),
        },
      ]),
    ),
    [{ kind: 'log', prefix: 'opened ssh', group: 22 }],
  );
  t.strictSame(
    decode(
      encode([
        {
          kind: 'unknown',
          name: 'dynset',
          raw: bytesOf(`0000  08000400 00000001
                        0008  08000300 00000002
                        0010  08000900 00000000
                        0018  0c000600 00000000 00000000
                        0024  0c000100 636c6965 6e747300`),
        },
      ]),
    ),
    [{ kind: 'dynset', op: 'delete', set: 'clients', key: KEY }],
  );
  t.strictSame(
    decode(
      encode([
        {
          kind: 'unknown',
          name: 'counter',
          raw: bytesOf(`0000  0c000100 00000000 0000012c
                        000c  0c000200 00000000 00000003`),
        },
      ]),
    ),
    [{ kind: 'counter' }],
  );
  t.end();
});

t.test('every expression is read back from its own bytes, and the bytes are the same again', t => {
  fc.assert(
    fc.property(fc.array(expression, { maxLength: 5 }), expressions => {
      const bytes = encode(expressions);
      assert.deepEqual(decode(bytes), expressions);
      assert.deepEqual(dump(encode(decode(bytes))), dump(bytes));
    }),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('every expression has a text, even if its register was never loaded', t => {
  fc.assert(
    fc.property(expression, alone => {
      assert.equal(typeof ruleText({ expressions: [alone] }, SETS), 'string');
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('rules are the same if the kernel does the same and nft prints the same', t => {
  const rule: Rule = { expressions: [{ kind: 'counter' }], comment: 'a' };
  t.ok(sameRule(rule, structuredClone(rule)));
  t.notOk(sameRule(rule, { ...rule, comment: 'b' }));
  t.notOk(sameRule(rule, { expressions: rule.expressions }));
  t.notOk(sameRule(rule, { ...rule, expressions: [] }));
  t.end();
});
