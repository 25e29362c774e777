/** The package for npm, as it is installed on servers and laptops. Needs the registry. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { VERSION } from '../../src/version.ts';
import { run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';
import { text } from '../system/installed.ts';

/** A folder without any file of ours; it ends with the test. */
function emptyFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-npm-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** `npm install -g` of what `npm pack` makes: the folder of all packages, and the command. */
async function installed(t: Test, ...options: readonly string[]) {
  const prefix = emptyFolder(t);
  const packed = await run(['npm', 'pack', '--silent', '--pack-destination', prefix]);
  const words = ['--prefix', prefix, '--no-audit', '--no-fund', join(prefix, packed.stdout.trim())];
  const result = await run(['npm', 'install', '-g', ...options, ...words], { timeout: 300_000 });
  t.equal(result.status, 0, text(result));
  const modules = join(prefix, 'lib/node_modules/knockd-nft/node_modules');
  return { prefix, modules, command: join(prefix, 'bin/knockd-nft') };
}

const skip = missing('namespaces', 'knockd');

t.test('npm install -g makes a command that guards on Linux', { skip }, async t => {
  const { prefix, command } = await installed(t);
  t.equal((await run([command, '--version'])).stdout, `${VERSION}\n`);
  const config = join(prefix, 'knockd-nft.json');
  writeFileSync(config, '{ "services": { "ssh": { "ports": [22], "sequence": [7000, 5000, 6000] } } }', {
    mode: 0o600,
  });
  const words = `mount -t tmpfs none /run && ${command} --config ${config} load && ${command} --config ${config} unload`;
  const { status, stdout, stderr } = await run(['unshare', '-rnm', 'sh', '-c', words]);
  t.equal(status, 0, stderr);
  t.match(stdout, /loaded: table inet knockd guards 1 service/);
});

for (const [system, cpu] of [
  ['darwin', 'arm64'],
  ['win32', 'x64'],
] as const)
  t.test(`npm install -g takes it for ${system}, where it knocks`, { skip }, async t => {
    const { prefix, modules, command } = await installed(t, '--os', system, '--cpu', cpu, '--ignore-scripts');
    if (existsSync(join(modules, '@koromix')))
      t.same(readdirSync(join(modules, '@koromix')), [`koffi-${system}-${cpu}`], 'and nothing for others');
    const played = join(prefix, 'system.cjs');
    writeFileSync(played, `Object.defineProperty(process, 'platform', { value: '${system}' })`);
    // a path of Windows is a file's name here, and what is noted of a knock goes into the working folder
    const alone = { cwd: prefix, env: { HOME: prefix } };
    const call = (...words: readonly string[]) =>
      run([process.execPath, '-r', played, command, ...words], alone);
    t.match(await call('knock', '127.0.0.1', '4000', '3000/udp'), { status: 0, stdout: /^knocked on/ });
    t.match(await call('load'), { status: 1, stderr: /^knockd-nft: only Linux is supported/ });
  });
