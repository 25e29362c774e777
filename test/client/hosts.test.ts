/** The user's file of hosts: what may stand in it, who may read it, and which host a word means. */
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findHost, readHosts } from '../../src/client/hosts.ts';
import { ConfigError } from '../../src/config/problems.ts';

function written(t: Test, text: string, mode = 0o600): string {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-hosts-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'hosts.json');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

/** The lines of the error, with FILE for the path. */
function told(path: string): readonly string[] {
  try {
    readHosts(path);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replaceAll(path, 'FILE').split('\n');
    throw error;
  }
  return [];
}

t.test('hosts have knocks, and may have an address, a gap and a port', async t => {
  const path = written(
    t,
    `{ // comments are fine
      "bastion": { "host": "bastion.example.org", "knocks": [10000, "2345/udp"], "gap": "150ms", "port": 22 },
      "fd77::1": { "knocks": ["7/tcp"], "gap": 1.5 },
      "Web.Example.org": { "knocks": [1, 2, 3], },
    }`,
  );
  t.same(readHosts(path), [
    {
      name: 'bastion',
      host: 'bastion.example.org',
      knocks: [
        { protocol: 'tcp', port: 10000 },
        { protocol: 'udp', port: 2345 },
      ],
      gap: 150,
      port: 22,
    },
    { name: 'fd77::1', host: 'fd77::1', knocks: [{ protocol: 'tcp', port: 7 }], gap: 1500 },
    {
      name: 'Web.Example.org',
      host: 'Web.Example.org',
      knocks: [1, 2, 3].map(port => ({ protocol: 'tcp', port })),
    },
  ]);
  t.same(readHosts(written(t, '{}')), []);
  t.same(readHosts(join(tmpdir(), 'no-such-folder/hosts.json')), [], 'no file, no hosts');
});

t.test('all mistakes are reported with their places, and no knock', async t => {
  const text = `{
  "bastion": { "knock": [54321, 43217], "gap": "2h", "port": "22/tcp" },
  "-oProxy": { "knocks": [54321] },
  "web": { "knocks": [54321, "43217"], "host": "two words" }
}`;
  const lines = told(written(t, text));
  t.match(lines, [
    /^FILE:2:14: bastion: the key "knocks" or "token" is missing; expected/,
    /^FILE:2:16: bastion: unknown key "knock", the nearest is "knocks"/,
    /^FILE:2:48: bastion\.gap: "2h" is too long; expected .* "200ms" or "1s", from 1 ms to 60 s$/,
    /^FILE:2:62: bastion\.port: "22\/tcp" is wrong; expected an integer from 1 to 65535$/,
    /^FILE:3:3: the file: "-oProxy" is no host name; expected a name or an address/,
    /^FILE:4:30: web\.knocks: knock 2 names no protocol; expected/,
    /^FILE:4:48: web\.host: "two words" is no host; expected a name or an address/,
  ]);
  t.equal(lines.length, 7);
  t.notMatch(lines.join('\n'), /54321|43217/);
  t.match(told(written(t, '[]')), [
    /^FILE:1:1: the file: this is an array; expected an object with a key for each host/,
  ]);
  t.match(told(written(t, '')), [/^FILE:1:1: the file is empty; expected an object/]);
  t.match(told(written(t, '{ "a": { "knocks": [1 2] } }')), [/^FILE:1:23: expected ","/]);
});

t.test('a host may have a token instead of knocks', async t => {
  const secret = '0123456789abcdef'.repeat(4);
  const full = { secret, service: 'web', realm: 'example.org', port: '4000/udp', payload: [80, '443/tcp'] };
  const hosts = { bastion: { token: { secret, service: 'ssh' }, port: 22 }, web: { token: full } };
  const bytes = Buffer.from(secret, 'hex');
  t.match(readHosts(written(t, JSON.stringify(hosts))), [
    {
      name: 'bastion',
      knocks: [],
      port: 22,
      token: { service: 'ssh', realm: 'default', port: 62201, payload: [] },
    },
    {
      name: 'web',
      token: { secret: bytes, service: 'web', realm: 'example.org', port: 4000, payload: [80, 443] },
    },
  ]);
});

t.test('the message about a wrong token does not show the secret', async t => {
  const lines = told(
    written(
      t,
      `{
  "a": { "token": { "secret": "0123456789abcdef", "service": "SSH", "realm": "a b", "port": 62201, "payload": ["53/udp"] } },
  "b": { "token": { "service": "ssh" } },
  "c": { "token": "0123456789abcdef" },
  "d": { "knocks": [1, 2, 3], "token": { "secret": "${'5a'.repeat(32)}", "service": "ssh" } }
}`,
    ),
  );
  t.match(lines, [
    /^FILE:2:31: a\.token\.secret: this is no secret; expected 64 hexadecimal digits$/,
    /^FILE:2:62: a\.token\.service: "SSH" is no service; expected/,
    /^FILE:2:78: a\.token\.realm: "a b" is no realm; expected/,
    /^FILE:2:93: a\.token\.port: 62201 is wrong; expected "N\/udp"$/,
    /^FILE:2:112: a\.token\.payload: "53\/udp" is wrong; expected a number from 1 to 65535, or "N\/tcp"$/,
    /^FILE:3:19: b\.token: the key "secret" is missing/,
    /^FILE:4:19: c\.token: this is a string; expected an object$/,
    /^FILE:5:\d+: d: "token" and "knocks" exclude each other; expected one of them$/,
  ]);
  t.equal(lines.length, 8);
  t.notMatch(lines.join('\n'), /0123456789|5a5a/);
});

t.test('only its owner may get at the file', async t => {
  const text = '{ "bastion": { "knocks": [1, 3, 2] } }';
  for (const mode of [0o600, 0o400, 0o700]) t.equal(readHosts(written(t, text, mode)).length, 1);
  for (const mode of [0o640, 0o604, 0o644, 0o620, 0o602, 0o666, 0o610]) {
    const path = written(t, text, mode);
    const expected = `FILE: users other than its owner may access the file, which holds secrets (mode 0${mode.toString(8)}); expected 0600: chmod 600 FILE`;
    t.same(told(path), [expected]);
  }
});

t.test('on Windows it is read, although each file has the mode 666 there', async t => {
  const path = written(t, '{ "bastion": { "knocks": [1, 3, 2] } }', 0o666);
  t.match(told(path), [/mode 0666/]);
  t.intercept(process, 'platform', { value: 'win32' });
  t.equal(readHosts(path).length, 1);
});

t.test(
  'nobody else may own the file',
  { skip: process.getuid?.() !== 0 && 'only root can give files away' },
  async t => {
    const path = written(t, '{}');
    chownSync(path, 12345, 12345);
    t.match(told(path), [
      /^FILE: the file belongs to user 12345; expected root or the user who runs this \(0\)$/,
    ]);
  },
);

t.test('a word means a host by its name, else by its address', async t => {
  const knocks = [{ protocol: 'tcp', port: 1 }] as const;
  const hosts = [
    { name: 'web', host: 'bastion.example.org', knocks, port: 443 },
    { name: 'bastion', host: 'bastion.example.org', knocks, port: 22 },
    { name: 'other', host: 'bastion', knocks },
  ];
  const found = (word: string, port?: number) => findHost(hosts, word, port)?.name;
  t.equal(found('bastion'), 'bastion');
  t.equal(found('BASTION', 443), 'bastion', 'names of hosts have no case');
  t.equal(found('bastion.example.org', 22), 'bastion', "what ssh's %h is with a HostName");
  t.equal(found('bastion.Example.org', 443), 'web');
  t.equal(found('bastion.example.org', 8080), 'web', 'the first, when none has the port');
  t.equal(found('example.org'), undefined);
});
