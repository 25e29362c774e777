/** The page that knocks, in real browsers, against a real kernel. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makePage, type PageSettings } from '../../src/client/page.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { lacking } from './process.ts';
import { counted, guard, SECRET } from './token-server.ts';
import { createWorld, missing, type World } from './world.ts';

t.jobs = 2;

const page = readFileSync('page/knock.html', 'utf8');
const PORT = 8022;

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

/** The page with somebody who presses its button, and tells the server what it says. */
function pressed(settings: PageSettings | null): string {
  const press = `<script>
  new MutationObserver(() => fetch('http://10.77.0.1:9000/?' + encodeURIComponent(the('status').textContent), { mode: 'no-cors' }))
    .observe(the('status'), { childList: true });
  the('knock').click();
</script>`;
  return makePage(settings, page).replace('</html>', `${press}</html>`);
}

/** Prints what arrives on the token port, each content once, and what the page says; and answers behind the door. */
const SERVER = `
const seen = new Set();
require('dgram').createSocket('udp6').on('message', data => {
  const token = data.subarray(24, 56).toString('latin1');
  if (!seen.has(token)) console.log('token', token);
  seen.add(token);
}).bind(62201, () => console.log('listening'));
require('http').createServer(({ url }, answer) => { console.log('says', decodeURIComponent(url.slice(2))); answer.end(); }).listen(9000);
require('http').createServer((_, answer) => answer.end('behind the door')).listen(${PORT});`;

async function serve(
  t: Pick<Test, 'teardown'>,
): Promise<{ world: World; server: ReturnType<World['start']> }> {
  const world = await createWorld(t);
  await world.nft(guard({ port: PORT }));
  const server = world.start('server', process.execPath, ['-e', SERVER]);
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
    realm: 'test',
    secret: SECRET,
    url,
    openFor: 300,
  };
}

for (const { program, args } of browsers) {
  const needs = { skip: missing('namespaces', 'nft') || lacking(program), buffered: true };
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
        const opened = world.start('client', program, args(profile, url), { HOME: home });
        const [, token] = (await server.line(/^token /)).split(' ');
        const key = { secret: Buffer.from(SECRET, 'hex'), realm: 'test', service: 'ssh' };
        const now = windowAt(Date.now());
        t.ok(
          [now - 1, now].some(window => deriveToken(key, window) === token),
          `at byte 24: ${token}`,
        );
        t.match(await server.line(/^says Open/), 'Open. New connections come in for 300 seconds.');
        t.match(await counted(world), { opened: 1, wrong_tokens: 0 });
        await opened.stop('SIGKILL');
      });
}
