/**
 * Text of others is shown, and does nothing: no control character reaches a terminal except those of our own colours.
 */
import { Writable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { columns, cut, fittedColumns } from '../../src/terminal/columns.ts';
import { harmless, ours, writeLines, written } from '../../src/terminal/harmless.ts';
import { wrap } from '../../src/terminal/wrap.ts';

const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** Text with much in it that a terminal obeys. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...['\u001b]0;owned\u0007', '\u001b[2K', '\u001b[31m', '\u009b2J', '\u007f', '\b', '\r', '\n', '\t'],
        ...['\u202e', '\u2066', '\u200f', '\u2028', '\u2029', '\ufeff', '\u00ad', '\u{e0041}', '\ud800'],
      ),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('sshd', 'é', '日本', '😀', '\\', '"'),
    ),
    { maxLength: 8 },
  )
  .map(parts => parts.join(''));

t.test('no word holds a control character when it is written, and every other one stays', async () => {
  fc.assert(
    fc.property(hostile, text => {
      const shown = written(`x${text}`);
      if (HARMFUL.test(shown)) return false;
      const back = shown.replace(/\\u([0-9a-f]{4})/g, (_, code) =>
        String.fromCharCode(Number.parseInt(code, 16)),
      );
      return text.includes('\\u') || back === `x${text}`;
    }),
    { numRuns: 2000 },
  );
});

t.test('JSON stays the same JSON', async t => {
  fc.assert(
    fc.property(hostile, fc.anything(), (text, value) => {
      const json = JSON.stringify({ text, value }) ?? 'null';
      t.equal(JSON.stringify(JSON.parse(written(json))), JSON.stringify(JSON.parse(json)));
    }),
    { numRuns: 500 },
  );
});

t.test('our own colours are there, and nobody can make one', async t => {
  const painted = ours(`\u001b[1m${harmless('a\u001b[31mb')}\u001b[22m`);
  t.equal(written(`${painted}\u001b[5m`), '\u001b[1ma\\u001b[31mb\u001b[22m\\u001b[5m');
  t.equal(harmless(painted), painted, 'and they outlive being looked at twice');
});

t.test('a line begins with the tabs that we set, and has no other', async t => {
  t.equal(written('\t\tmeta mark\tset'), '\t\tmeta mark\\u0009set');
});

t.test('lines end where we end them', async t => {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  writeLines(stream, ['one\nok      configuration: fine', 'two']);
  writeLines(stream, 'three');
  t.equal(text, 'one\\u000aok      configuration: fine\ntwo\nthree\n');
});

t.test('tables and paragraphs are as wide as what is written', async t => {
  const name = 'a\u001b[2Kb';
  t.same(columns(['NAME', 'PORT'], [[name, '22']]), ['NAME         PORT', 'a\\u001b[2Kb  22']);
  t.ok(
    fittedColumns(['NAME'], [[name]], { NAME: { importance: 1, least: 3 } }, 6).every(
      line => line.length <= 6,
    ),
  );
  t.equal(cut(name, 6).length, 6);
  t.ok(wrap(`${name} ${name}`, 12).every(line => line.length <= 12));
});
