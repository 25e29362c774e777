import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ConfigError, formatProblem } from '../../src/config/problems.ts';
import { configPath, readConfig } from '../../src/config/read.ts';

const GOOD = '{ "services": { "ssh": { "ports": [22], "sequence": [10000, 2345, 3456, 1234] } } }';
const isRoot = process.geteuid?.() === 0;

/** Writes a file and gives what reading it tells, line by line, without the path. */
function told(t: Test, content: string | Buffer, mode = 0o600, change?: (path: string) => void): string[] {
  const path = join(t.testdir(), 'knockd-nft.json');
  writeFileSync(path, content);
  chmodSync(path, mode);
  change?.(path);
  return toldOf(path);
}

function toldOf(path: string): string[] {
  const lines = (() => {
    try {
      return readConfig(path, {}).warnings.map(formatProblem);
    } catch (error) {
      if (error instanceof ConfigError) return error.message.split('\n');
      throw error;
    }
  })();
  return lines.map(line => line.replace(path, 'FILE'));
}

t.test('--config comes before KNOCKD_NFT_CONFIG, before /etc/knockd-nft.json', t => {
  t.equal(configPath('a.json', { KNOCKD_NFT_CONFIG: 'b.json' }), 'a.json');
  t.equal(configPath(undefined, { KNOCKD_NFT_CONFIG: 'b.json' }), 'b.json');
  t.equal(configPath(undefined, { KNOCKD_NFT_CONFIG: '' }), '/etc/knockd-nft.json');
  t.equal(configPath(undefined, {}), '/etc/knockd-nft.json');
  t.end();
});

t.test('a file of its owner alone is read without a word', t => {
  t.same(told(t, GOOD), []);
  t.same(told(t, GOOD, 0o640), [], 'a group may read it');
  t.end();
});

t.test('a file that everybody may read is read, with a warning', t => {
  t.match(told(t, GOOD, 0o644), [/^FILE: warning: every user may read .*0644/]);
  t.end();
});

t.test('a file that others may write is refused', t => {
  t.match(told(t, GOOD, 0o620), [/^FILE: users other than its owner may write .*0620.*expected/]);
  t.match(told(t, GOOD, 0o602), [/^FILE: users other/]);
  t.match(
    told(t, '{}', 0o666),
    [/^FILE: users other/, /^FILE:1:1: .*"services"/, /^FILE: warning: /],
    'all at once',
  );
  t.end();
});

t.test('a file of somebody else is refused', { skip: !isRoot && 'needs root to give a file away' }, t => {
  t.match(
    told(t, GOOD, 0o600, path => chownSync(path, 12345, 0)),
    [/^FILE: the file belongs to user 12345; expected root/],
  );
  t.end();
});

t.test('a file that is missing, a folder, a device, a pipe or without permission is refused', t => {
  const folder = t.testdir();
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  mkdirSync(join(folder, 'folder'));
  writeFileSync(join(folder, 'file'), GOOD);
  t.match(toldOf(join(folder, 'missing')), [/^FILE: there is no such file; expected/]);
  t.match(toldOf(join(folder, 'file', 'below')), [/^FILE: there is no such file.*; expected/]);
  t.match(toldOf(join(folder, 'folder')), [/^FILE: this is not a regular file; expected/]);
  t.match(toldOf(pipe), [/not a regular file/], 'without waiting for a writer');
  t.match(toldOf('/dev/zero'), [/not a regular file/]);
  t.match(toldOf(join(folder, 'a\0b')), [/cannot be read.*expected/]);
  t.end();
});

t.test('a file without read permission is refused', { skip: isRoot && 'root may read everything' }, t => {
  t.match(told(t, GOOD, 0o000), [/^FILE: .*EACCES.*expected/]);
  t.end();
});

t.test('a file over 8 MiB is refused, one of 8 MiB is read', t => {
  const limit = 8 * 1024 * 1024;
  t.match(
    told(t, GOOD, 0o600, path => truncateSync(path, limit + 1)),
    [/^FILE: the file is too large; expected at most 8 MiB/],
  );
  t.same(told(t, GOOD + ' '.repeat(limit - GOOD.length)), []);
  t.end();
});

t.test('a symbolic link counts as the file that it leads to', t => {
  const folder = t.testdir();
  writeFileSync(join(folder, 'file'), GOOD, { mode: 0o600 });
  symlinkSync('file', join(folder, 'link'));
  symlinkSync('loop', join(folder, 'loop'));
  t.same(toldOf(join(folder, 'link')), []);
  t.match(toldOf(join(folder, 'loop')), [/cannot be read \(ELOOP\)/]);
  t.end();
});

t.test('bytes that are no UTF-8 are reported at their place', t => {
  const bad = (before: string, ...bytes: readonly number[]) =>
    told(t, Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from('" }')]));
  t.match(bad('{\n  "table": "', 0xff), [/^FILE:2:13: a byte that is no UTF-8; expected/]);
  t.match(bad('{ "ä€😀\uFFFD": "', 0xe2, 0x82), [/^FILE:1:13: /], 'after letters of all lengths');
  t.match(bad('{ "', 0xef, 0xbf), [/^FILE:1:4: /], 'the beginning of U+FFFD alone');
  t.match(bad('{ "', 0xed, 0xa0, 0x80), [/^FILE:1:4: /], 'a surrogate');
  t.end();
});

t.test('a syntax error is reported alone, except in a file that others may write', t => {
  t.match(told(t, '{', 0o644), [/^FILE:1:2: the file ends too early/]);
  t.match(told(t, Buffer.of(0xff), 0o644), [/^FILE:1:1: /]);
  t.match(told(t, '{', 0o666), [/^FILE: users other/, /^FILE:1:2: /]);
  t.match(told(t, ''), [/^FILE:1:1: the file is empty; expected/]);
  t.match(told(t, '\uFEFF{}'), [/^FILE:1:1: a byte order mark; expected/]);
  t.end();
});
