/** `knockd-nft page`: the source of its secret, and its messages. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';

const built = { skip: missing('knockd') };
const secret = '0123456789abcdef'.repeat(4);

function user(t: Pick<Test, 'teardown'>) {
  const home = mkdtempSync(join(tmpdir(), 'knockd-nft-page-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  mkdirSync(join(home, 'knockd-nft'));
  const token = { secret, service: 'ssh', realm: 'here', port: '4000/udp' };
  const hosts = { bastion: { host: '192.0.2.1', token }, named: { host: 'localhost', token } };
  writeFileSync(join(home, 'knockd-nft/hosts.json'), JSON.stringify(hosts), { mode: 0o600 });
  const page = (...words: readonly string[]) =>
    run([process.execPath, resolve('dist/knockd-nft.cjs'), 'page', ...words], {
      env: { XDG_CONFIG_HOME: home },
    });
  return { home, page };
}

function filled(html: string): unknown {
  return JSON.parse(/id="filled"[^>]*>(.*?)<\/script>/.exec(html)?.[1] ?? '');
}

t.test('without words it is for everybody, and holds nothing', built, async t => {
  const { page } = user(t);
  const { status, stdout, stderr } = await page();
  t.match({ status, stderr }, { status: 0, stderr: '' });
  t.equal(filled(stdout), null);
  t.match(stdout, /^<!doctype html>\n[\s\S]*<\/html>\n$/);
  t.equal(JSON.parse((await page('--json')).stdout).html, stdout.trimEnd());
});

t.test('for a host it holds what hosts.json or the options say', built, async t => {
  const { home, page } = user(t);
  const { status, stdout, stderr } = await page(
    '--host',
    'bastion',
    '--url',
    'https://192.0.2.1/',
    '--open-for',
    '1m',
  );
  t.equal(status, 0);
  t.match(stderr, /^the page holds the secret of bastion: keep it like a key/);
  const known = { name: 'bastion', host: '192.0.2.1', port: 4000, service: 'ssh', realm: 'here', secret };
  t.same(filled(stdout), { ...known, url: 'https://192.0.2.1/', openFor: 60 });
  const file = join(home, 'secret');
  writeFileSync(file, `${'AB'.repeat(32)}\n`, { mode: 0o600 });
  const other = await page('--host', '192.0.2.9', '--service', 'web', '--secret-file', file);
  t.same(filled(other.stdout), {
    ...{ name: '192.0.2.9', host: '192.0.2.9', port: 62201, service: 'web', realm: 'default' },
    secret: 'ab'.repeat(32),
  });
});

t.test('a name is looked up, and a message says so', built, async t => {
  const { stdout, stderr } = await user(t).page('--host', 'named');
  t.match(filled(stdout), { name: 'named', host: /^(127\.0\.0\.1|::1)$/ });
  t.match(
    stderr,
    /^localhost is (127\.0\.0\.1|::1) now, and the page knocks on that address: make a new page when it changes/,
  );
});

t.test('a command line that nobody can mean is 64, and shows no secret', built, async t => {
  const { home, page } = user(t);
  const file = join(home, 'open');
  writeFileSync(file, secret, { mode: 0o644 });
  const short = join(home, 'short');
  writeFileSync(short, secret.slice(1), { mode: 0o600 });
  for (const [words, message] of [
    [['--service', 'ssh'], '--host is missing'],
    [['--host', '192.0.2.9', '--service', 'ssh'], 'no secret is known for 192.0.2.9: add it to '],
    [['--host', '192.0.2.9', '--secret-file', file], `others may read ${file} (mode 0644): chmod 600`],
    [['--host', '192.0.2.9', '--secret-file', short], `there is no secret in ${short}; expected 64`],
    [['--host', 'bastion', '--service', 'SSH'], '--service "SSH" is wrong; expected a lower-case letter'],
    [['--host', 'bastion', '--realm', 'a b'], '--realm "a b" is wrong; expected 1 to 64 letters'],
    [['--host', 'bastion', '--port', '22/tcp'], '--port 22/tcp is no UDP port'],
    [['--host', 'bastion', '--url', 'x'], '--url x is no URL'],
    [['--host', 'bastion', '--open-for', 'x'], '--open-for x is no duration'],
  ] as const) {
    const { status, stdout, stderr } = await page(...words);
    t.match({ status, stdout }, { status: 64, stdout: '' }, words.join(' '));
    t.ok(stderr.startsWith(`knockd-nft: ${message}`), stderr);
    t.notMatch(stderr, secret.slice(0, 20));
  }
});
