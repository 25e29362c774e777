/** The page that knocks, in real browsers, against a server that `knockd-nft load` made. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makePage, type PageSettings } from '../../src/client/page.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { serviceOf } from './loaded.ts';
import { lacking, run } from './process.ts';
import { SECRETS, type TokenWorld, tokens, tokenWorld } from './token-world.ts';
import { missing } from './world.ts';

t.jobs = 2;

const page = readFileSync('page/knock.html', 'utf8');
const PORT = 8022;
const SECRET = SECRETS.alice;

interface Browser {
  readonly program: string;
  /** Opens the address, with a folder for all that it keeps. */
  readonly args: (folder: string, url: string) => readonly string[];
}

const browsers: readonly Browser[] = [
  {
    program: 'chromium',
    args: (folder, url) => [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      `--user-data-dir=${folder}`,
      url,
    ],
  },
  { program: 'firefox-esr', args: (folder, url) => ['--headless', '--no-remote', '--profile', folder, url] },
];

function folder(t: Pick<Test, 'teardown'>): string {
  const path = mkdtempSync(join(tmpdir(), 'knockd-nft-page-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true, maxRetries: 9 }));
  return path;
}

/** The page, in a browser as old as those of 2020, with somebody who presses its button, and tells the server what it says. */
function pressed(settings: PageSettings | null): string {
  const press = `<script>
  new MutationObserver(() => fetch('http://10.77.0.1:9000/?' + encodeURIComponent(the('status').textContent), { mode: 'no-cors' }))
    .observe(the('status'), { childList: true });
  the('knock').click();
</script>`;
  return makePage(settings, page)
    .replace('<script', '<script>delete Promise.any;</script>\n<script')
    .replace('</html>', `${press}</html>`);
}

/** Prints, in hexadecimal digits, what arrives on the token port; a host has nobody who listens there. */
const CAPTURE = `
require('dgram').createSocket('udp6').on('message', data => console.log('datagram', data.toString('hex')))
  .bind(62201, () => console.log('capturing'));`;

/** Sends the same datagram again: to an address, in hexadecimal digits. */
const REPLAY = `
const [to, data] = process.argv.slice(-2);
const socket = require('dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4');
socket.send(Buffer.from(data, 'hex'), 62201, to, () => socket.close());`;

/** Prints what the page says, and answers behind the door, after so many milliseconds. */
const SERVER = `
require('http').createServer(({ url }, answer) => { console.log('says', decodeURIComponent(url.slice(2))); answer.end(); }).listen(9000);
require('http').createServer((_, answer) => setTimeout(() => answer.end('behind the door'), process.argv[1])).listen(${PORT}, () => console.log('listening'));`;

/** The same behind a certificate that no browser knows, with a key beside it. */
const UNKNOWN_SERVER = `
const { readFileSync } = require('fs');
require('http').createServer(({ url }, answer) => { console.log('says', decodeURIComponent(url.slice(2))); answer.end(); }).listen(9000);
const [cert, key] = process.argv.slice(1).map(path => readFileSync(path));
require('https').createServer({ cert, key }, (_, answer) => answer.end('behind the door')).listen(${PORT}, () => console.log('listening'));`;

async function serve(
  t: Pick<Test, 'teardown'>,
  delay = 0,
): Promise<{ world: TokenWorld; server: ReturnType<TokenWorld['start']> }> {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.loadFresh({ services: { ssh: { ...tokens.services.ssh, ports: [PORT] } } });
  const server = world.start('server', process.execPath, ['-e', SERVER, String(delay)]);
  await server.line(/^listening$/);
  return { world, server };
}

function settingsFor(host: string): PageSettings {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${PORT}/`;
  return {
    name: 'bastion',
    host,
    port: 62201,
    service: 'ssh',
    realm: 'default',
    secret: SECRET,
    url,
    openFor: 300,
  };
}

for (const { program, args } of browsers) {
  const needs = { skip: missing('namespaces', 'knockd') || lacking(program), buffered: true };
  // filled as a file, and with a link that has it all behind the #
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const from of ['file://', 'http://localhost'])
      t.test(`${program} knocks from ${from} over ${family}, and sees the door open`, needs, async t => {
        const { world, server } = await serve(t);
        const home = folder(t);
        const file = join(home, 'knock.html');
        const settings = settingsFor(world.server[family]);
        writeFileSync(file, pressed(from === 'file://' ? settings : null));
        let url = `file://${file}`;
        if (from !== 'file://') {
          const script = `require('http').createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(require('fs').readFileSync(${JSON.stringify(file)}))).listen(8000, () => console.log('listening'))`;
          await world.start('client', process.execPath, ['-e', script]).line(/^listening$/);
          const { port, openFor, ...words } = settings;
          url = `http://localhost:8000/#${new URLSearchParams({ ...words, port: `${port}`, openFor: `${openFor}` })}`;
        }
        const profile = join(home, 'profile');
        mkdirSync(profile);
        const [client, stranger] = [world.host('client'), world.host('stranger')];
        t.equal(await client.connect(world.server[family], PORT), 'silent');
        const opened = world.start('client', program, args(profile, url), { HOME: home, TMPDIR: home });
        t.match(await server.line(/^says Open/), 'Open. New connections come in for 300 seconds.');
        t.equal(await client.connect(world.server[family], PORT), 'open');
        t.match(await world.counted(), { opened: 1, wrong: 0 });
        t.match((await serviceOf(world, 'ssh')).clients, [`${world.client[family]} alice`]);
        t.equal(await stranger.connect(world.server[family], PORT), 'silent');
        await opened.stop('SIGKILL');
      });

  t.test(`${program} sees the door open though the page behind it is slow`, needs, async t => {
    // each question is waited for three seconds
    const { world, server } = await serve(t, 8000);
    const home = folder(t);
    const file = join(home, 'knock.html');
    writeFileSync(file, pressed(settingsFor(world.server.ipv4)));
    const profile = join(home, 'profile');
    mkdirSync(profile);
    const opened = world.start('client', program, args(profile, `file://${file}`), {
      HOME: home,
      TMPDIR: home,
    });
    t.match(await server.line(/^says (Open|It did not)/), 'Open. New connections come in for 300 seconds.');
    await opened.stop('SIGKILL');
  });

  t.test(
    `${program} sends one token where it cannot see the door, since the certificate behind it is unknown`,
    { ...needs, skip: needs.skip || lacking('openssl') },
    async t => {
      const world = await tokenWorld(t);
      await world.loadFresh({ services: { ssh: { ...tokens.services.ssh, ports: [PORT] } } });
      const home = folder(t);
      const [cert, key, file, profile] = ['cert', 'key', 'knock.html', 'profile'].map(it => join(home, it));
      if (!cert || !key || !file || !profile) throw new Error('four paths');
      const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=door'.split(
        ' ',
      );
      const made = await run(['openssl', ...request, '-out', cert, '-keyout', key]);
      t.equal(made.status, 0, made.stderr);
      const server = world.start('server', process.execPath, ['-e', UNKNOWN_SERVER, cert, key]);
      await server.line(/^listening$/);
      writeFileSync(
        file,
        pressed({ ...settingsFor(world.server.ipv4), url: `https://${world.server.ipv4}:${PORT}/` }),
      );
      mkdirSync(profile);
      const opened = world.start('client', program, args(profile, `file://${file}`), {
        HOME: home,
        TMPDIR: home,
      });
      t.equal(
        await server.line(/^says (Open|Sent|It did not)/),
        'says Sent. If it arrived, you can connect for 300 seconds.',
      );
      t.match(await world.counted(), { opened: 1 });
      await opened.stop('SIGKILL');
    },
  );

  for (const family of ['ipv4', 'ipv6'] as const)
    t.test(
      `the packet that ${program} sent over ${family} opens once, to nobody who sends it again, not even to its sender`,
      needs,
      async t => {
        const { world, server } = await serve(t);
        const capture = world.start('server', process.execPath, ['-e', CAPTURE]);
        await capture.line(/^capturing$/);
        const home = folder(t);
        const file = join(home, 'knock.html');
        writeFileSync(file, pressed(settingsFor(world.server[family])));
        const profile = join(home, 'profile');
        mkdirSync(profile);
        const opened = world.start('client', program, args(profile, `file://${file}`), {
          HOME: home,
          TMPDIR: home,
        });
        const [, data = ''] = (await capture.line(/^datagram /)).split(' ');
        await server.line(/^says Open/);
        await opened.stop('SIGKILL');
        const key = { secret: Buffer.from(SECRET, 'hex'), realm: 'default', service: 'ssh' };
        const now = windowAt(Date.now());
        const at24 = Buffer.from(data, 'hex').subarray(24, 56).toString('latin1');
        t.ok(
          [now - 1, now].some(window => deriveToken(key, window) === at24),
          `at byte 24: ${at24}`,
        );
        t.equal((await world.knockd(['revoke', 'ssh', '--all'], { env: world.env })).status, 0);
        const { repeated } = await world.counted();
        for (const host of ['stranger', 'client']) {
          await world.run(host, process.execPath, ['-e', REPLAY, world.server[family], data]);
          t.equal(await world.host(host).connect(world.server[family], PORT), 'silent', host);
        }
        const after = await world.counted();
        t.match(after, { opened: 1, wrong: 0 });
        t.ok(after.repeated >= repeated + 2, 'both were seen'); // the browser may send it again, too
      },
    );
}
