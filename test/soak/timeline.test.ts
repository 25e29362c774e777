import t from 'tap';
import { Timeline } from './timeline.ts';

const rules = { guarded: new Set([22]), openFor: 10, hook: 'input', table: 'knockd' };

/** A timeline whose clock the test sets. */
function timeline() {
  let time = 0;
  const at = (now: number) => {
    time = now;
  };
  const line = new Timeline(() => time);
  line.saves(rules)();
  return { line, at };
}

const moment = (at: number) => ({ from: at, to: at });
const opening = { from: 1000, to: 1010, by: 'sequence' } as const;

t.test('a port that the file guards may be open only while others have removed the rules', async t => {
  const { line, at } = timeline();
  t.equal(line.mayBeOpen(22, { from: 100, to: 200 }), false);
  t.equal(line.mayBeOpen(80, { from: 100, to: 200 }), true);
  at(300);
  const mended = line.exposes();
  t.equal(line.mayBeOpen(22, { from: 200, to: 299 }), false);
  t.equal(line.mayBeOpen(22, { from: 250, to: 350 }), true);
  at(400);
  mended();
  t.equal(line.mayBeOpen(22, { from: 401, to: 500 }), false);
});

t.test('between two files a port may be open if either leaves it open', async t => {
  const { line, at } = timeline();
  at(100);
  const inForce = line.saves({ ...rules, guarded: new Set([22, 80]) });
  t.equal(line.mayBeOpen(80, { from: 150, to: 160 }), true);
  at(200);
  inForce();
  t.equal(line.mayBeOpen(80, { from: 201, to: 210 }), false);
  at(300);
  line.saves(rules);
  t.equal(line.mayBeOpen(80, { from: 201, to: 299 }), false);
  t.equal(line.mayBeOpen(80, { from: 201, to: 301 }), true);
});

t.test('a client is in from its last knock on, for as long as the file says, and then out', async t => {
  const { line } = timeline();
  t.equal(line.expected(opening, moment(1010)), 'open');
  t.equal(line.expected(opening, moment(10_800)), 'open');
  t.equal(line.expected(opening, moment(11_000)), 'either');
  t.equal(line.expected(opening, moment(11_200)), 'closed');
});

t.test('a client stays in when others remove the rules, unless nobody remembers it', async t => {
  const { line, at } = timeline();
  at(2000);
  const mended = line.exposes();
  at(3000);
  mended();
  t.equal(line.expected(opening, moment(4000)), 'open');
  t.equal(line.expected({ ...opening, by: 'sequence for a single use' }, moment(4000)), 'either');
  t.equal(line.expected({ from: 2500, to: 2510, by: 'sequence' }, moment(4000)), 'either', 'knocks get lost');
  at(5000);
  line.dies();
  t.equal(line.expected(opening, moment(6000)), 'open', 'the table stays without a supervisor');
  at(7000);
  line.exposes();
  t.equal(line.expected(opening, moment(8000)), 'either', 'but not without both');
});

t.test('knocks that end while the table changes its name may count only when that is done', async t => {
  const { line, at } = timeline();
  at(900);
  const settled = line.saves({ ...rules, table: 'door' });
  at(2000);
  settled();
  t.equal(line.expected(opening, moment(1500)), 'either');
  t.equal(line.expected(opening, moment(2500)), 'open');
  t.equal(line.expected({ ...opening, by: 'sequence for a single use' }, moment(2500)), 'either');
  t.equal(line.expected({ from: 500, to: 510, by: 'sequence' }, moment(1500)), 'open', 'who was in stays in');
});
