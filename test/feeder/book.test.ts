import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readBook, withBook } from '../../src/feeder/book.ts';

const user = { user: 'phone', realm: 'default', service: 'ssh', secret: '3f'.repeat(32) };
const fed = { table: '1', id: '00', until: 5, users: { '00000001': user } };
const whole = {
  machine: 'm',
  time: 1,
  offset: 1,
  clean: true,
  floor: 0,
  used: { '00000001': [1, 2] },
  keys: { '00000001': '0123456789abcdef' },
  nobodys: ['11'.repeat(16)],
  fed,
  fresh: { boot: 'b', keys: [] },
};

t.test(
  'a record of used tokens counts if all of it makes sense; otherwise the tokens of five minutes are left out',
  t => {
    const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const read = (ledger: unknown) => {
      writeFileSync(join(folder, 'tokens.json'), JSON.stringify(ledger));
      return readBook({ STATE_DIRECTORY: folder });
    };
    t.match(read(whole), { ledger: whole, missing: undefined });
    t.match(read({ ...whole, fed: null }), { missing: undefined });
    for (const damage of [
      { used: { '00000001': 5 } },
      { used: [] },
      { used: { '00000001': ['1'] } },
      { keys: ['0123456789abcdef'] },
      { keys: { '00000001': 5 } },
      { nobodys: [5] },
      { fed: {} },
      { fed: { ...fed, users: null } },
      { fed: { ...fed, users: { '00000001': null } } },
      { fed: { ...fed, users: { '00000001': { ...user, secret: undefined } } } },
      { fed: { ...fed, until: null } },
      { fresh: { boot: 'b', keys: 'x' } },
      { fresh: { boot: 'b', keys: [5] } },
    ])
      t.match(
        read({ ...whole, ...damage }),
        { ledger: undefined, missing: /damaged/ },
        JSON.stringify(damage),
      );
    const text = JSON.stringify(whole);
    for (const length of [0, text.indexOf('3f3f') + 10]) {
      writeFileSync(join(folder, 'tokens.json'), `${text.slice(0, length)}}`);
      t.equal(readBook({ STATE_DIRECTORY: folder }).missing, 'the record of used tokens is damaged');
    }
    t.end();
  },
);

t.test('a first load says in words why tokens are left out', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const why = await withBook({ STATE_DIRECTORY: folder }, async ({ missing }) => missing);
  t.equal(why, 'no used tokens were recorded here before');
});
