/** Tokens in the configuration: mistakes are reported at their places, and no message shows a secret. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { ConfigError, formatProblem } from '../../src/config/problems.ts';
import { windowsFor } from '../../src/config/tokens.ts';

const A = 'a1'.repeat(32);
const B = 'b0'.repeat(32);

function told(text: string, file = 'FILE'): readonly string[] {
  try {
    return parseConfig(text, file, {}).warnings.map(formatProblem);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(formatProblem);
  }
}

const services = (tokens: string) => `{ "services": { "ssh": { "ports": [22],\n "tokens": ${tokens} } } }`;

t.test('a service with tokens needs no sequence, and each secret is 64 digits', t => {
  t.same(told(services(`{ "alice": "${A}" }`)), []);
  for (const wrong of [
    `"${A.slice(1)}"`,
    `"${A}0"`,
    `"${A.slice(1)}g"`,
    '7',
    '{}',
    '{ "file": 7 }',
    'null',
  ]) {
    const lines = told(services(`{ "alice": ${wrong} }`));
    t.match(lines[0], /^FILE:2:\d+: .*alice/, wrong);
    t.notMatch(lines.join('\n'), A.slice(2, 40), 'and the secret is not shown');
  }
  t.match(told('{ "services": { "ssh": { "ports": [22] } } }')[0], 'there is no way in');
  t.end();
});

t.test('two users of a service with one secret are an error, those of two services a warning', t => {
  t.match(told(services(`{ "alice": "${A}", "bob": "${A.toUpperCase()}" }`)), [/^FILE:2:\d+: .*bob.*alice/]);
  const two = `{ "services": { "ssh": { "ports": [22], "tokens": { "alice": "${A}" } },\n "web": { "ports": [80], "tokens": { "alice": "${A}" } } } }`;
  const lines = told(two);
  t.match(lines, [
    /^FILE:2:\d+: warning: services.web.tokens.alice: the secret of services.ssh.tokens.alice/,
  ]);
  t.notMatch(lines.join('\n'), A);
  t.end();
});

t.test(
  'a secret in a file counts from the folder of the configuration, and only if nobody else may write it',
  t => {
    const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const config = join(folder, 'knockd-nft.json');
    const text = services('{ "alice": { "file": "alice" } }');
    t.match(told(text, config), [/:2:\d+: .*alice: there is no such file/]);
    writeFileSync(join(folder, 'alice'), `${B}\n`, { mode: 0o600 });
    t.same(told(text, config), []);
    t.same(parseConfig(text, config, {}).secretFiles, [join(folder, 'alice')]);
    chmodSync(join(folder, 'alice'), 0o644);
    t.match(told(text, config), [/warning: .*every user may read/]);
    chmodSync(join(folder, 'alice'), 0o622);
    t.match(told(text, config), [/users other than its owner may write/]);
    chmodSync(join(folder, 'alice'), 0o600);
    writeFileSync(join(folder, 'alice'), `${B}${B}`);
    const lines = told(text, config);
    t.match(lines, [/holds no secret/]);
    t.notMatch(lines.join('\n'), B);
    t.end();
  },
);

t.test('with many users fewer hours fit, which is reported; with too many it is an error', t => {
  const users = (count: number) =>
    services(
      `{ ${Array.from({ length: count }, (_, index) => `"u${index}": "${index.toString(16).padStart(64, '0')}"`).join(', ')} }`,
    );
  t.same(told(users(90)), []);
  t.match(told(users(100)), [
    /warning: .*the tokens of 100 users fit into the kernel for 21.7 hours, not 24/,
  ]);
  t.match(told(users(2017)), [/2017 users have tokens.*at most 2016/]);
  for (let count = 1; count <= 2016; count++)
    if (count * (windowsFor(count, 24) + 5) + 1 > 131_072) t.fail(`${count} users, beside the mark`);
  t.end();
});

t.test('the port of tokens is a UDP port of nobody else', t => {
  const own = services(`{ "alice": "${A}" }`).replace(
    /\}$/,
    ', "token": { "port": "53/udp" }, "public": ["53/udp"] }',
  );
  t.match(told(own), [/^FILE:\d+:\d+: /]);
  t.match(told(services(`{ "alice": "${A}" }`).replace(/\}$/, ', "token": { "port": "53/tcp" } }')), [
    /^FILE:2:\d+: /,
  ]);
  t.match(told(services(`{ "alice": "${A}" }`).replace(/\}$/, ', "token": { "realm": "a b" } }')), [
    /^FILE:2:\d+: /,
  ]);
  t.end();
});
