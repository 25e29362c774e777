/** Tokens as docs/protocol.md has them: one derivation in every language, and which window comes next. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createContext, runInContext } from 'node:vm';
import t, { type Test } from 'tap';
import { makePage } from '../../src/client/page.ts';
import { Purse } from '../../src/client/purse.ts';
import { nextWindow, UsedFile } from '../../src/client/used.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram, tokenRequest } from '../../src/token/packet.ts';
import { environment, lacking, run } from '../kernel/process.ts';

interface Vector {
  readonly secret: string;
  readonly realm: string;
  readonly service: string;
  /** Seconds of the epoch. */
  readonly time: number;
  readonly window: number;
  readonly message: string;
  readonly token: string;
  readonly datagram: string;
}

const vectors: readonly Vector[] = JSON.parse(readFileSync('docs/token-vectors.json', 'utf8'));
const page = readFileSync('page/knock.html', 'utf8');
const [, protocol = ''] = /<script id="protocol">([\s\S]*?)<\/script>/.exec(page) ?? [];

function folder(t: Pick<Test, 'teardown'>): string {
  const path = mkdtempSync(join(tmpdir(), 'knockd-nft-vectors-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

t.test('the vectors hold in TypeScript', async t => {
  for (const { secret, realm, service, time, window, token, datagram } of vectors) {
    t.equal(windowAt(time * 1000), window);
    t.equal(deriveToken({ secret: Buffer.from(secret, 'hex'), realm, service }, window), token);
    t.equal(tokenDatagram(token), datagram);
  }
});

t.test('they hold in the page', async t => {
  const context = createContext({});
  runInContext(protocol, context);
  for (const vector of vectors)
    t.equal(runInContext(`tokenOf(${JSON.stringify(vector)}, ${vector.window})`, context), vector.token);
});

const shells = {
  bash: ['bash', 'knock.bash'],
  dash: ['dash', 'knock.sh'],
  busybox: ['busybox', 'knock.sh'],
} as const;

/** Functions in place of programs: what time it is, and a record of what they are given. */
const witness = `date() { echo "$TIME"; }
${['sha256sum', 'sed', 'cut'].map(it => `${it}() { echo "${it} $*" >>"$LOG"; command ${it} "$@"; }`).join('\n')}`;

for (const [name, [program, script]] of Object.entries(shells))
  t.test(`they hold in ${name}, and no program is given the secret`, { skip: lacking(program) }, async t => {
    const LOG = join(folder(t), 'log');
    const file = join(folder(t), 'secret');
    const shell = program === 'busybox' ? ['busybox', 'sh'] : [program];
    for (const { secret, realm, service, time, token } of vectors) {
      writeFileSync(file, `${secret}\n`);
      const command = [
        ...shell,
        '-c',
        `${witness}\n. ./docs/clients/${script}`,
        script,
        '-',
        realm,
        service,
        file,
      ];
      const env = { ...environment, LOG, TIME: String(time) };
      t.same(await run(command, { env }), { status: 0, stdout: `${token}\n`, stderr: '' });
      t.notMatch(readFileSync(LOG, 'utf8'), secret);
    }
    t.match(readFileSync(LOG, 'utf8'), 'sha256sum');
  });

t.test('PowerShell has them, too', { skip: lacking('pwsh') }, async t => {
  const file = join(folder(t), 'secret');
  for (const { secret, realm, service } of vectors) {
    writeFileSync(file, secret);
    const { stdout } = await run(['pwsh', '-File', 'docs/clients/knock.ps1', '-', realm, service, file]);
    const key = { secret: Buffer.from(secret, 'hex'), realm, service };
    t.equal(stdout.trim(), deriveToken(key, windowAt(Date.now())));
  }
});

t.test('the token stands at byte 24, also in a request that a web server understands', async t => {
  const token = '0123456789abcdef'.repeat(2);
  for (const data of [tokenDatagram(token), tokenRequest(token, '192.0.2.1')])
    t.equal(data.slice(24, 56), token);
  t.equal(tokenDatagram(token).length, 56);
  t.match(tokenRequest(token, '192.0.2.1'), /^GET \/knockd-nft\/1\.{7}[0-9a-f]{32} HTTP\/1\.1\r\nHost: 192/);
});

t.test('windows: one after the other, at most two ahead, in the page as well', async t => {
  const context = createContext({});
  runInContext(protocol, context);
  const now = 100 * 60_000 + 12_345;
  for (const [last, window, from] of [
    [undefined, 100, now],
    [50, 100, now],
    [99, 100, now],
    [100, 101, now],
    [101, 102, now],
    [102, 103, 101 * 60_000], // waits for the next minute
    [103, 104, 102 * 60_000], // the clock went back a little
    [104, 100, now], // and a lot: what was used then is of another time
    [9999, 100, now],
  ] as const) {
    t.same(nextWindow(last, now), { window, from });
    t.same({ ...runInContext(`nextWindow(${last}, ${now})`, context) }, { window, from });
  }
});

t.test('a device that slept while it waited for its next token takes the one of the present', async t => {
  const env = { XDG_STATE_HOME: folder(t) };
  const key = { secret: Buffer.alloc(32, 7), realm: 'default', service: 'ssh' };
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  let shift = 60_000 - (now() % 60_000) - 50; // a minute begins soon
  Date.now = () => now() + shift;
  new UsedFile(env, key).write({ window: windowAt(Date.now()) + 2 });
  let waits = 0;
  const token = await new Purse(env, key, () => {}).take(new AbortController().signal, () => {
    waits++;
    void delay(10).then(() => {
      shift += 8 * 60 * 60_000;
    });
  });
  t.equal(waits, 1);
  t.equal(token, deriveToken(key, windowAt(Date.now())));
  t.equal(new UsedFile(env, key).read().window, windowAt(Date.now()));
});

t.test('a page is filled so that nothing of it ends early', async t => {
  const settings = {
    name: '</script><script>',
    host: '192.0.2.1',
    port: 62201,
    service: 'ssh',
    realm: 'default',
    secret: '00'.repeat(32),
    url: "https://192.0.2.1/$&$'</script>",
  };
  const [, json = ''] = /id="filled"[^>]*>(.*?)<\/script>/.exec(makePage(settings, page)) ?? [];
  t.same(JSON.parse(json), settings);
  t.equal(makePage(null, page), page);
});

t.test('the page asks nobody else for anything', async t => {
  const from = page.replace(/xmlns='[^']*'/g, '').replace(/placeholder="[^"]*"/g, '');
  t.notMatch(from, /https?:\/\//);
  t.notMatch(from, /<(link|script|img|iframe)[^>]*(src|href)=(?!"data:)/);
});
