import fc from 'fast-check';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { ConfigError } from '../../src/config/problems.ts';

const FILE = `// comment
{
  "$schema": "./knockd-nft.schema.json",
  "services": {
    "ssh": { "ports": [22, "8000-8010/tcp"], "sequence": [10000, "2345/udp", 3456,], "openFor": "1m30s" },
    "web": { "ports": ["443/udp"], "sequences": { "bob": [1, 70, 30], "eve": [1, 70, 20] }, "closed": "reject" },
  },
  "public": [80], "allow": ["192.0.2.0/24", "2001:db8::/32"], "interfaces": ["eth0", "wg*"], /* here */
  "prefix": { "ipv6": 64 }, "limits": { "clients": 10 }, "priority": -10, "strict": false, "table": "knockd",
  "log": { "level": "info", "group": 22 }
}
`;
const TOKENS = FILE.match(/"[^"]*"|[\w.-]+|\s+|./g) ?? [];
const FRAGMENTS = [
  ...TOKENS,
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '/*',
    '*/',
    '//',
    '\n',
    '\r',
    '\0',
    '\uFEFF',
    '\uD800',
    '"\\ud800"',
  ],
  ...['null', 'true', '-', '1e999', '-0', '0.1', '65536', '"__proto__"', '"constructor"', '"toString"', '""'],
  ...[
    '"1-65535/tcp"',
    '"::ffff:1.2.3.4"',
    '"::/0"',
    '"1::1.2.3.4"',
    '"fe80::1%1"',
    '"365d"',
    '{"a":1,"a":2}',
    '[[[[]]]]',
  ],
];

/** Reads it, or says in a ConfigError with places inside the file why not; anything else is a bug. */
function readOrExplain(text: string): void {
  try {
    parseConfig(text, 'FILE', {});
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = text.split(/\r\n|\r|\n/);
    const [first] = error.problems;
    if (first?.severity !== 'error') throw new Error('refused without an error', { cause: error });
    for (const { line, column, message } of error.problems) {
      const length = line === null ? undefined : lines[line - 1]?.length;
      if (length === undefined || column === null || column < 1 || column > length + 1) {
        throw new Error(`no such place: ${line}:${column}: ${message}`, { cause: error });
      }
    }
  }
}

t.test(
  'a file with any pieces replaced, left out or put in is read, or refused with a place in the file',
  t => {
    const edit = fc.record({
      at: fc.nat(TOKENS.length),
      remove: fc.nat(6),
      insert: fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), edits => {
        const tokens: string[] = [...TOKENS];
        for (const { at, remove, insert } of edits) tokens.splice(at, remove, ...insert);
        readOrExplain(tokens.join(''));
      }),
      { numRuns: 1000 },
    );
    t.end();
  },
);

t.test('a file with any character changed is read, or refused with a place in the file', t => {
  fc.assert(
    fc.property(fc.nat(FILE.length), fc.string({ unit: 'binary', maxLength: 2 }), (at, piece) => {
      readOrExplain(FILE.slice(0, at) + piece + FILE.slice(at + 1));
    }),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('any values under the known keys are read, or refused with a place in the file', t => {
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom(22, '22/tcp', [], {}, '5s', ['::1'], [22, 23]),
  );
  const keys = ['ports', 'sequence', 'sequences', 'knockTimeout', 'openFor', 'singleUse', 'closed'];
  const service = fc.dictionary(fc.constantFrom(...keys), value);
  const rest = [
    'closed',
    'policy',
    'public',
    'allow',
    'interfaces',
    'hook',
    'priority',
    'prefix',
    'limits',
    'table',
    'log',
  ];
  const file = fc.record({ services: fc.dictionary(fc.constantFrom('a', 'b', 'C', ''), service) });
  fc.assert(
    fc.property(file, fc.dictionary(fc.constantFrom(...rest), value), (services, others) => {
      readOrExplain(JSON.stringify({ ...services, ...others }, null, 1));
    }),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('any text at all is read, or refused with a place in the file', t => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...FRAGMENTS)), pieces => readOrExplain(pieces.join(''))),
    {
      numRuns: 1000,
    },
  );
  t.end();
});

t.test('a file of the largest size is refused without delay, whatever it repeats', t => {
  for (const piece of ['[', '{"a":', '"', '1', '1a', '/', '/*', '//\n', ' ', '\n', '[1,', '{"":1,']) {
    readOrExplain(piece.repeat(8_000_000 / piece.length));
  }
  const wide = Array.from({ length: 300_000 }, () => '"1-65535/tcp"').join(',');
  readOrExplain(`{"services":{"a":{"ports":[22],"sequence":[1,7,3]}},"public":[${wide}]}`);
  t.end();
});
