/** Ports that `doctor` asks about once, since no rule of others tells them apart. */
import t from 'tap';
import { portClasses } from '../../src/firewalls/classes.ts';
import type { Expression } from '../../src/nftables/expression.ts';
import { KEY } from '../../src/nftables/register.ts';
import { bytesOf } from '../dump.ts';

/** The classes by a table that has one rule. */
function classesOf(...expressions: readonly Expression[]) {
  const chain = { name: 'input', rules: [{ expressions }] };
  return portClasses([
    { family: 'inet', name: 'filter', chains: new Map([[chain.name, chain]]), sets: new Map() },
  ]);
}

const load = (offset: number, length: number): Expression => ({
  kind: 'payload',
  base: 'transport',
  offset,
  length,
  dreg: KEY,
});
const mask = (hex: string): Expression => ({
  kind: 'bitwise',
  sreg: KEY,
  dreg: KEY,
  mask: Buffer.from(hex, 'hex'),
});
const is = (hex: string): Expression => ({
  kind: 'cmp',
  sreg: KEY,
  op: 'eq',
  value: Buffer.from(hex, 'hex'),
});

/** nft's bytes for `ct original proto-dst` */
const PROTO_DST: Expression = {
  kind: 'unknown',
  name: 'ct',
  raw: bytesOf(`0000  08000200 0000000c
                0008  08000100 00000001
                0010  05000300 00000000`),
};
const TURNED: Expression = {
  kind: 'unknown',
  name: 'byteorder',
  raw: bytesOf(`0000  08000100 00000001
                0008  08000200 00000001
                0010  08000300 00000000
                0018  08000400 00000002
                0020  08000500 00000002`),
};

t.test('a port that stands in a rule has a class of its own', async t => {
  for (const rule of [
    [load(2, 2), is('0016')], // tcp dport 22
    [load(0, 4), mask('0000ffff'), is('00000016')],
    [load(0, 4), mask('fff0ffff'), is('00000016')], // and some bits of the source port
  ]) {
    const { of, firsts } = classesOf(...rule);
    t.not(of(22), of(21));
    t.not(of(22), of(23));
    t.equal(of(24), of(278));
    t.ok(firsts.includes(22));
  }
});

t.test('ports that differ in the bits that a rule looks at are in different classes', async t => {
  for (const [what, bits, ...rule] of [
    ['th dport & 0xfffe == 22', 0xfffe, load(2, 2), mask('fffe'), is('0016')],
    ['th dport & 0xff == 22', 0xff, load(2, 2), mask('00ff'), is('0016')],
    ['th dport & 0xff00 == 0x1600', 0xff00, load(2, 2), mask('ff00'), is('1600')],
    ['@th,24,8 22', 0xff, load(3, 1), is('16')],
    ['@th,16,8 22', 0xff00, load(2, 1), is('16')],
    ['@th,0,32 & 0xff == 22', 0xff, load(0, 4), mask('000000ff'), is('00000016')],
    ['@th,8,16 & 0xff == 22', 0xff00, load(1, 2), mask('00ff'), is('0016')],
    ['ct original proto-dst & 0xff == 22', 0xff, PROTO_DST, mask('00ff'), is('0016')],
    ['the bytes of th dport turned, & 0xff00 == 22', 0xff, load(2, 2), TURNED, mask('ff00'), is('1600')],
    ['th dport ^ 1 == 23', 0xffff, load(2, 2), { kind: 'unknown', name: 'bitwise', raw: Buffer.alloc(0) }],
  ] as const) {
    const { of, firsts } = classesOf(...rule);
    const isFirst = new Set(firsts);
    const wrong = firsts.filter(port => port > 1 && of(port) === of(port - 1));
    t.same(wrong, [], what);
    for (let port = 2; port < 0x10000; port++) {
      const isOther = (port & bits) !== ((port - 1) & bits);
      if (isOther && !isFirst.has(port)) return t.fail(`${what}: ${port} is like the port before`);
    }
    t.equal(of(0x4016) === of(0x4017), (0x4016 & bits) === (0x4017 & bits), what);
  }
  const { of } = classesOf(load(2, 2), mask('00ff'), is('0016'));
  t.equal(of(0x116), of(0x216), 'the same bits, and so the same answer');
});
