/**
 * On laptops: the one file alone, on systems that are no servers. macOS and Windows are played, by what Node.js says of the system;
 * on Windows' own Node.js 20 it was tried by hand, under Wine.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { COMMANDS } from '../../src/cli/commands.ts';
import { run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';

const built = { skip: missing('knockd') };
const SERVICES = '{ "services": { "ssh": { "ports": [22], "sequence": [10000, 2345, 3456, 1234] } } }';
const HOSTS = '{ "bastion": { "host": "127.0.0.1", "token": { "secret": "SECRET", "service": "ssh" } } }';

/** Systems, by what differs. */
const SYSTEMS = {
  darwin: `Object.defineProperty(process, 'platform', { value: 'darwin' })`,
  win32: `Object.defineProperty(process, 'platform', { value: 'win32' })`,
  'big-endian': `require('os').endianness = () => 'BE'`,
  'native parts': '', // there are none beside the file
};

/** The program in a folder without modules, with a configuration and a file of hosts. */
function laptop(t: Test, played: string, mode: number, program: string) {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-laptop-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = (name: string) => join(folder, name);
  copyFileSync(program, file('knockd-nft.cjs'));
  writeFileSync(file('system.cjs'), played);
  writeFileSync(file('c.json'), SERVICES, { mode });
  writeFileSync(file('secret'), '00'.repeat(32), { mode });
  writeFileSync(file('hosts.json'), HOSTS.replace('SECRET', '00'.repeat(32)), { mode });
  const command = [
    process.execPath,
    '-r',
    file('system.cjs'),
    file('knockd-nft.cjs'),
    '--config',
    file('c.json'),
  ];
  const page = ['page', '--host', '192.0.2.1', '--service', 'ssh', '--secret-file', file('secret')];
  // a path of Windows is a file's name here, and what is noted of a knock goes into the working folder
  const alone = { cwd: folder, env: { HOME: folder } };
  return { page, call: (...words: readonly string[]) => run([...command, ...words], alone) };
}

for (const [system, played] of Object.entries(SYSTEMS))
  t.test(`commands for clients and files work, commands for servers say so: ${system}`, built, async t => {
    const { page, call } = laptop(t, played, system === 'win32' ? 0o666 : 0o600, 'dist/knockd-nft.cjs');
    const works = {
      check: [/valid, 1 service/, await call('check')],
      render: [/^table inet knockd/, await call('render')],
      knock: [/^knocked on 127\.0\.0\.1/, await call('knock', '127.0.0.1', '4000', '3000/udp')],
      page: [/<title>/, await call(...page)],
      json: [/"cuts":null/, await call('check', '--json')],
    } as const;
    for (const [name, [expected, { status, stdout, stderr }]] of Object.entries(works)) {
      t.equal(status, 0, `${name}: ${stderr}`);
      t.match(stdout + stderr, expected, name);
      t.notMatch(stderr, 'warning', name);
    }
    for (const { usage, anywhere, failed = 1 } of COMMANDS) {
      if (anywhere || (system !== 'darwin' && usage !== 'load')) continue; // one system stands for all
      const words = usage.replace(/\[[^\]]*\]/g, '').replace(/<[^>]*>/g, 'ssh');
      const { status, stdout, stderr } = await call(...words.trim().split(/\s+/));
      t.same({ status, stdout }, { status: failed, stdout: '' }, usage);
      t.match(
        stderr,
        new RegExp(`^knockd-nft: [^\\n]*${system}[^\\n]*; these commands work here: [^\\n]*\\n$`),
        usage,
      );
    }
  });

for (const [system, played] of Object.entries(SYSTEMS))
  t.test(`the client alone works everywhere, and has no other commands: ${system}`, built, async t => {
    const { page, call } = laptop(t, played, system === 'win32' ? 0o666 : 0o600, 'dist/client.cjs');
    const knocked = await call('knock', '127.0.0.1', '4000', '3000/udp');
    t.match(knocked, { status: 0, stdout: /^knocked on 127\.0\.0\.1/ });
    t.match(await call(...page), { status: 0, stdout: /<title>/ });
    t.match(await call('proxy', '127.0.0.1', '9', '4000', '--timeout', '1'), {
      status: 1,
      stderr: /is still closed after 1 s/,
    });
    t.match(await call('status'), { status: 64, stderr: /^knockd-nft: unknown command 'status'\n/ });
    const { stdout } = await call('--help');
    t.match(stdout, /A server has all commands/);
    t.same(
      [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name),
      ['knock', 'proxy', 'page', 'help'],
    );
  });

/** The files of koffi and netlink that run, and where the native ones stand on most systems. */
const ASKED = [
  'koffi/package.json',
  'koffi/index.cjs',
  'koffi/src/koffi/index.cjs',
  'koffi/src/koffi/src/static.cjs',
  `@koromix/koffi-linux-${process.arch}/package.json`,
  `@koromix/koffi-linux-${process.arch}/index.js`,
  'netlink/package.json',
  'node-gyp-build/package.json',
  'node-gyp-build/index.js',
  'node-gyp-build/node-gyp-build.js',
];
const KOFFI = `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
const NETLINK = `netlink/prebuilds/linux-${process.arch}/node.napi.node`;

t.test('native parts that stand where only their packages search are found', built, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-native-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  copyFileSync('dist/knockd-nft.cjs', join(folder, 'knockd-nft.cjs'));
  writeFileSync(join(folder, 'c.json'), SERVICES, { mode: 0o600 });
  const put = (from: string, to = from) => {
    mkdirSync(dirname(join(folder, 'node_modules', to)), { recursive: true });
    copyFileSync(join('node_modules', from), join(folder, 'node_modules', to));
  };
  const diff = async () => {
    const command = [process.execPath, 'knockd-nft.cjs', '--config', 'c.json', 'diff'];
    return (await run(command, { cwd: folder })).stderr;
  };
  for (const file of ASKED) put(file);
  t.match(await diff(), /native parts of the npm packages koffi and netlink cannot be loaded/);
  put(KOFFI, `@koromix/koffi-linux-${process.arch}/musl_${process.arch}/koffi.node`); // the other one that koffi tries
  t.match(await diff(), /native parts .* cannot be loaded .*No native build was found/);
  put(NETLINK, 'netlink/build/Release/netlink.node'); // as compiled here
  t.notMatch(await diff(), 'native parts');
});
