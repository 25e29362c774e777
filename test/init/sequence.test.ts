/** Random sequences fit the host that they are for. */

import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import type { Listener } from '../../src/host/listeners.ts';
import type { Protocol } from '../../src/inet/protocol.ts';
import { chooseSequences, freePorts } from '../../src/init/sequence.ts';

const port = fc.integer({ min: 1, max: 65_535 });
const range = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const listener = fc.record({
  protocol: fc.constantFrom<Protocol>('tcp', 'udp'),
  port,
  address: fc.constant(Buffer.alloc(4)),
  loopback: fc.boolean(),
  inode: fc.nat(),
}) satisfies fc.Arbitrary<Listener>;
const guarded = range.map(it => ({
  protocol: 'tcp' as const,
  ...it,
  last: Math.min(it.last, it.first + 50),
}));

t.test('no knock is a port in use, a guarded one, or one that outgoing connections take', async t => {
  fc.assert(
    fc.property(
      fc.array(listener, { maxLength: 300 }),
      range,
      fc.array(guarded, { maxLength: 5 }),
      (listeners, ephemeral, ports) => {
        const free = freePorts({ listeners, ephemeral }, ports);
        const used = new Set(listeners.map(it => it.port));
        const inside = free.filter(it => it >= ephemeral.first && it <= ephemeral.last);
        const outside = free.length - inside.length;
        return (
          free.every(it => it >= 1024 && it <= 65_535 && !used.has(it)) &&
          free.every(it => !ports.some(({ first, last }) => it >= first && it <= last)) &&
          (inside.length === 0 || outside < 1000)
        );
      },
    ),
  );
  t.pass();
});

t.test('sequences have no port twice, no neighbours that differ by 1, and go both up and down', async t => {
  const few = Array.from({ length: 1200 }, (_, index) => 2000 + index);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 3, max: 32 }), (count, knocks) => {
      const sequences = chooseSequences(count, knocks, few, randomInt) ?? [];
      const steps = sequences.map(it => it.slice(1).map((port, index) => port - (it[index] ?? 0)));
      return (
        sequences.length === count &&
        sequences.every(it => it.length === knocks && it.every(port => few.includes(port))) &&
        new Set(sequences.flat()).size === count * knocks &&
        steps.every(it => it.every(step => Math.abs(step) > 1)) &&
        steps.every(it => it.some(step => step > 0) && it.some(step => step < 0))
      );
    }),
  );
  t.pass();
});

t.test('every port may come up, at every place', async t => {
  // a random source that gives the highest or the lowest it may, in turn
  let turn = 0;
  const extreme = (limit: number) => (turn++ % 2 === 0 ? limit - 1 - (turn % 7) * 5 : (turn % 5) * 5);
  const free = freePorts({ listeners: [], ephemeral: { first: 32_768, last: 60_999 } }, []);
  t.equal(free[0], 1024);
  t.equal(free.at(-1), 65_535);
  t.ok(
    chooseSequences(1, 4, free, extreme)
      ?.flat()
      .every(it => free.includes(it)),
  );
});

t.test('too few ports are reported, not waited for', async t => {
  const all = [{ protocol: 'tcp' as const, first: 1, last: 65_535 }];
  t.same(freePorts({ listeners: [], ephemeral: { first: 32_768, last: 60_999 } }, all), []);
  t.equal(chooseSequences(1, 4, [], randomInt), undefined);
  const free = Array.from({ length: 1100 }, (_, index) => 2000 + index);
  t.equal(chooseSequences(100, 32, free, randomInt), undefined, 'nor where they do not last');
});
