import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { type ParseError, parse } from 'jsonc-parser';
import t from 'tap';
import { keywords } from '../../src/config/keywords.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { configSchema } from '../../src/config/schema.ts';

const FOLDER = new URL('../../../config/', import.meta.url); // from build/test/config
const validate = new Ajv({ allErrors: true, keywords: ['allowComments', 'allowTrailingCommas'] }).compile(
  configSchema(),
);

function parses(text: string): boolean {
  try {
    parseConfig(text, 'FILE', {});
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

const SERVICES = '"services": { "ssh": { "ports": [22], "sequence": [10000, "2345/udp", 3456] } }';

t.test('config/knockd-nft.schema.json is what scripts/write-schema.mjs writes', t => {
  const written = readFileSync(new URL('knockd-nft.schema.json', FOLDER), 'utf8');
  t.strictSame(JSON.parse(written), configSchema());
  t.equal(written, `${JSON.stringify(configSchema(), null, 2)}\n`);
  t.end();
});

t.test('config/knockd-nft.json has no error, no warning, and fits the schema', t => {
  const text = readFileSync(new URL('knockd-nft.json', FOLDER), 'utf8');
  t.same(parseConfig(text, 'knockd-nft.json', {}).warnings, []);
  const errors: ParseError[] = [];
  t.ok(validate(parse(text, errors, { allowTrailingComma: true })), JSON.stringify(validate.errors));
  t.end();
});

t.test('config/knockd-nft.json shows every default in a comment', t => {
  const text = readFileSync(new URL('knockd-nft.json', FOLDER), 'utf8');
  const uncommented = text
    .replace(/^\s*\/\/ ("\w+": .*,)$/gm, '$1')
    .replace(/^"(sequences|tokens)".*$/gm, '');
  const shown = parseConfig(uncommented, 'FILE', {});
  t.strictSame(shown.config, parseConfig(text, 'FILE', {}).config);
  const keys = Object.keys((configSchema().properties ?? {}) as object);
  const mentioned = Object.keys(parse(uncommented, [], { allowTrailingComma: true }) as object);
  t.same(mentioned.sort(), keys.sort());
  t.end();
});

t.test('the schema and the reader agree on what is right', t => {
  for (const text of [
    `{ ${SERVICES} }`,
    `{ ${SERVICES}, "$schema": "x" }`,
    '{ "services": {} }',
    '{ "services": { "a": { "ports": ["1-65535/udp"], "sequences": { "u": [1, 65535, 7] }, "openFor": "1m30s" } } }',
    `{ ${SERVICES}, "public": [1, "443/tcp"], "allow": ["192.0.2.0/24", "::1"], "interfaces": ["eth0", "wg*"] }`,
    `{ ${SERVICES}, "priority": -199, "prefix": { "ipv6": 64 }, "strict": false, "limits": { "clients": 9 } }`,
    `{ ${SERVICES}, "table": "my_table", "log": { "level": "warn" }, "closed": "reject", "policy": "drop" }`,
  ]) {
    t.ok(validate(JSON.parse(text)), text);
    t.ok(parses(text), text);
  }
  t.end();
});

t.test('the schema and the reader agree on what is wrong', t => {
  const service = (lines: string) => `{ "services": { "ssh": { "ports": [22], ${lines} } } }`;
  for (const text of [
    '{}',
    '[]',
    'null',
    '{ "services": [] }',
    `{ ${SERVICES}, "polciy": "drop" }`,
    `{ ${SERVICES}, "policy": "reject" }`,
    `{ ${SERVICES}, "priority": -200 }`,
    `{ ${SERVICES}, "prefix": { "ipv4": 33 } }`,
    `{ ${SERVICES}, "limits": { "clients": 0 } }`,
    `{ ${SERVICES}, "table": "counter" }`,
    `{ ${SERVICES}, "table": "Knockd" }`,
    `{ ${SERVICES}, "strict": "yes" }`,
    `{ ${SERVICES}, "log": { "group": 65536 } }`,
    `{ ${SERVICES}, "interfaces": ["*"] }`,
    `{ ${SERVICES}, "interfaces": ["a/b"] }`,
    `{ ${SERVICES}, "interfaces": ["abcdefghijklmnop"] }`,
    `{ ${SERVICES}, "allow": ["example.org"] }`,
    `{ ${SERVICES}, "public": ["80"] }`,
    `{ ${SERVICES}, "public": ["65536/tcp"] }`,
    `{ "services": { "SSH": { "ports": [22], "sequence": [7, 9, 1] } } }`,
    `{ "services": { "ssh": { "sequence": [7, 9, 1] } } }`,
    service('"openFor": "5s"'),
    service('"sequence": []'),
    service('"sequence": [0]'),
    service('"sequence": ["7-9/tcp"]'),
    service('"sequences": {}'),
    service('"sequences": { "Bob": [7, 9, 1] }'),
    service('"sequence": [7, 9, 1], "sequences": { "bob": [7, 1, 9] }'),
    service('"sequence": [7, 9, 1], "openFor": "5 s"'),
    service('"sequence": [7, 9, 1], "openFor": ""'),
    service('"sequence": [7, 9, 1], "openFor": 0.5'),
    service('"sequence": [7, 9, 1], "closed": "deny"'),
  ]) {
    t.notOk(validate(JSON.parse(text)), text);
    t.notOk(parses(text), text);
  }
  t.end();
});

t.test('no word of nft can be the name of the table', t => {
  const accepted = keywords().filter(word => parses(`{ ${SERVICES}, "table": "${word}" }`));
  t.same(accepted, []);
  t.equal(new Set(keywords()).size, keywords().length);
  t.end();
});
