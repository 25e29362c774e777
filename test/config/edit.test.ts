/** Edits of the configuration: everything that was not asked for stays as it stands. */
import t from 'tap';
import { withMember, withoutMember, withValue } from '../../src/config/edit.ts';
import { parseTree } from '../../src/config/syntax.ts';

const OF_LINES = `{
  // who gets in
  "tokens": {
    "alice": "1", // her laptop
    // his telephone, since May
    "bob": "2", /* and tablet */
  },
}
`;

t.test('a member is added behind the last one, and comments stay with what they are about', t => {
  t.equal(
    withMember(OF_LINES, ['tokens'], 'carol', '"3"'),
    OF_LINES.replace('/* and tablet */\n', '/* and tablet */\n    "carol": "3",\n'),
  );
  const noComma = OF_LINES.replace('"2",', '"2"');
  t.equal(
    withMember(noComma, ['tokens'], 'carol', '"3"'),
    OF_LINES.replace('/* and tablet */\n', '/* and tablet */\n    "carol": "3"\n'),
  );
  t.end();
});

t.test('an object in one line stays in one line', t => {
  t.equal(withMember('{ "t": { "a": 1 } }', ['t'], 'b', '2'), '{ "t": { "a": 1, "b": 2 } }');
  t.equal(withMember('{ "t": { "a": 1, } }', ['t'], 'b', '2'), '{ "t": { "a": 1, "b": 2, } }');
  t.equal(withMember('{ "t": {} }', ['t'], 'b', '2'), '{ "t": { "b": 2 } }');
  t.equal(withMember('{ "t": { // nobody\n} }', ['t'], 'b', '2'), '{ "t": { // nobody\n "b": 2 } }');
  t.equal(withoutMember('{ "t": { "a": 1, "b": 2 } }', ['t', 'b']), '{ "t": { "a": 1 } }');
  t.equal(withoutMember('{ "t": { "a": 1, "b": 2 } }', ['t', 'a']), '{ "t": { "b": 2 } }');
  t.equal(withoutMember('{ "t": { "a": 1, "b": 2, } }', ['t', 'b']), '{ "t": { "a": 1, } }');
  t.end();
});

t.test('a member goes with its line and the comment behind it, and with nothing else', t => {
  t.equal(
    withoutMember(OF_LINES, ['tokens', 'alice']),
    OF_LINES.replace('    "alice": "1", // her laptop\n', ''),
  );
  t.equal(
    withoutMember(OF_LINES, ['tokens', 'bob']),
    OF_LINES.replace('    "bob": "2", /* and tablet */\n', ''),
  );
  t.end();
});

t.test('another value takes the place of one, with any text around it', t => {
  t.equal(withValue(OF_LINES, ['tokens', 'bob'], '"9"'), OF_LINES.replace('"2"', '"9"'));
  t.end();
});

t.test('a member that is added and removed again leaves the text as it was, in every format', t => {
  const texts = [
    OF_LINES,
    OF_LINES.replaceAll('\n', '\r\n'),
    OF_LINES.replaceAll('    ', '\t\t'),
    OF_LINES.replace('"2",', '"2"'),
    '{"tokens":{"alice":"1"}}',
    '{ "tokens": { "alice": "1", "bob": "2" }, "more": [1, 2,] }',
    '{ "tokens": {\n"alice": "1" } }',
    '{ "tokens": { "alice": "1",\n  "bob": "2" // it is he\n } }',
  ];
  for (const text of texts) {
    const longer = withMember(text, ['tokens'], 'carol', '"3"');
    const tree = parseTree(longer);
    t.ok('root' in tree, longer);
    t.equal(withoutMember(longer, ['tokens', 'carol']).replaceAll(/\s/g, ''), text.replaceAll(/\s/g, ''));
  }
  t.end();
});
