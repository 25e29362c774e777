/** Random expressions: all kinds, with all that they may contain. */
import fc from 'fast-check';
import type { Expression } from '../../src/nftables/expression.ts';
import { register, VERDICT } from '../../src/nftables/register.ts';
import type { Verdict } from '../../src/nftables/verdict.ts';

type Kind = Expression['kind'];
type Of<K extends Kind> = Extract<Expression, { kind: K }>;

/** Objects as the decoders make them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });
const word = fc.nat(15).map(register);
const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/);
const bytes = (maxLength: number) =>
  fc.uint8Array({ minLength: 1, maxLength }).map(value => Buffer.from(value));
const u32 = fc.nat(0xffffffff);
const kind = <K extends Kind>(value: K) => fc.constant(value);

const verdict: fc.Arbitrary<Verdict> = fc.oneof(
  record({ code: fc.constantFrom('accept', 'drop', 'continue', 'return') }),
  record({ code: fc.constantFrom('jump', 'goto'), chain: name }),
);

const limit: fc.Arbitrary<Of<'limit'>> = record({
  kind: kind('limit'),
  rate: fc.integer({ min: 1, max: 2 ** 40 }),
  unit: fc.constantFrom('second', 'minute', 'hour', 'day', 'week'),
  burst: u32,
});

const metaKey = fc.constantFrom('mark', 'iif', 'iifname', 'skuid', 'nftrace', 'nfproto', 'l4proto');

const EXPRESSIONS: { readonly [K in Kind]: fc.Arbitrary<Of<K>> } = {
  bitwise: record({ kind: kind('bitwise'), sreg: word, dreg: word, mask: bytes(16) }),
  cmp: record({
    kind: kind('cmp'),
    sreg: word,
    op: fc.constantFrom('eq', 'neq', 'lt', 'lte', 'gt', 'gte'),
    value: bytes(16),
  }),
  counter: record({ kind: kind('counter') }),
  ct: record({ kind: kind('ct'), key: fc.constantFrom('state', 'direction', 'status'), dreg: word }),
  dynset: fc.record(
    {
      kind: kind('dynset'),
      op: fc.constantFrom('add', 'update', 'delete'),
      set: name,
      key: word,
      data: word,
      timeout: fc.integer({ min: 1, max: 2 ** 45 }),
      limit,
    },
    { requiredKeys: ['kind', 'op', 'set', 'key'], noNullPrototype: true },
  ),
  fib: record({ kind: kind('fib'), result: fc.constantFrom('saddr type', 'daddr type'), dreg: word }),
  immediate: fc.oneof(
    record({ kind: kind('immediate'), dreg: word, value: bytes(16) }),
    record({ kind: kind('immediate'), verdict }),
  ),
  limit,
  log: record({
    kind: kind('log'),
    prefix: fc.string({ maxLength: 31, unit: 'grapheme-ascii' }),
    group: fc.nat(0xffff),
  }),
  lookup: fc.oneof(
    record({ kind: kind('lookup'), set: name, sreg: word }),
    record({ kind: kind('lookup'), set: name, sreg: word, inverted: fc.constant(true as const) }),
    record({ kind: kind('lookup'), set: name, sreg: word, dreg: fc.oneof(word, fc.constant(VERDICT)) }),
  ),
  meta: fc.oneof(
    record({ kind: kind('meta'), key: metaKey, dreg: word }),
    record({ kind: kind('meta'), key: metaKey, sreg: word }),
  ),
  objref: record({ kind: kind('objref'), counter: name }),
  payload: record({
    kind: kind('payload'),
    base: fc.constantFrom('link', 'network', 'transport'),
    offset: u32,
    length: u32,
    dreg: word,
  }),
  reject: record({
    kind: kind('reject'),
    with: fc.constantFrom('tcp reset', 'port unreachable', 'admin prohibited'),
  }),
  socket: record({ kind: kind('socket'), key: fc.constant('wildcard'), dreg: word }),
  unknown: record({
    kind: kind('unknown'),
    name: fc.constantFrom('numgen', 'quota', 'masq', 'constructor', '__proto__'),
    // attributes, so a multiple of 4 bytes
    raw: fc.array(u32, { maxLength: 10 }).map(words => Buffer.from(Uint32Array.from(words).buffer)),
  }),
};

export const expression: fc.Arbitrary<Expression> = fc.oneof(...Object.values(EXPRESSIONS));
