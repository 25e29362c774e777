/** The Debian package on a system without Node.js, over the former package, which needed it. */
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import t from 'tap';
import { VERSION } from '../../src/version.ts';
import { run } from '../kernel/process.ts';
import { install, makePackage, succeed, text } from '../system/installed.ts';
import type { Lab } from '../system/lab.ts';
import { type Manager, testLife } from './life.ts';
import { debian, missingTree } from './tree.ts';

const skip = missingTree();

/** apt has no network here, and needs none. */
async function apt(lab: Lab, ...words: readonly string[]): Promise<string> {
  const result = await lab.run('apt-get', ['--yes', ...words], { timeout: 120_000 });
  if (result.status !== 0) throw new Error(text(result));
  return text(result);
}

const manager: Manager = {
  provide: async lab => [await makePackage(lab, VERSION), await makePackage(lab, '9.9.9')],
  install: (lab, file) => apt(lab, 'install', file),
  upgrade: (lab, file) => apt(lab, 'install', file),
  downgrade: (lab, file) => apt(lab, '--allow-downgrades', 'install', file),
  remove: lab => apt(lab, 'remove', 'knockd-nft'),
  purge: lab => apt(lab, 'purge', 'knockd-nft'),
};

for (const suite of ['bookworm', 'trixie'] as const)
  t.test(`the Debian package on ${suite}`, { skip }, async t => {
    await testLife(t, await debian(suite), manager);
  });

/** 1.0.0 from the history: the commit before there was a unit to unload, which its loader did by itself. Empty without history. */
async function first100(): Promise<string> {
  const made = resolve('build/cache/knockd-nft_1.0.0_first.deb');
  if (existsSync(made)) return made;
  const unloader = ['--', 'systemd/knockd-nft-unload.service'];
  const found = await run(['git', 'log', '-1', '--diff-filter=A', '--format=%H', ...unloader]);
  if (found.stdout.trim() === '') return '';
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-before-'));
  try {
    symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
    const script = `set -e
git archive ${found.stdout.trim()}^ | tar -x -C ${folder}
cd ${folder}
node_modules/.bin/tsc -p .
node scripts/bundle.mjs
node scripts/deb.mjs --arch $(dpkg --print-architecture) --version 1.0.0 --out ${folder}
mv knockd-nft_1.0.0_*.deb made.deb`;
    const { status, stdout, stderr } = await run(['sh', '-c', script], { timeout: 300_000 });
    if (status !== 0) throw new Error(`${stdout}${stderr}`);
    copyFileSync(join(folder, 'made.deb'), `${made}.new`);
    renameSync(`${made}.new`, made);
    return made;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const before = skip ? '' : await first100();
const none = before === '' && 'this clone has no history to build 1.0.0 from';

t.test(
  'the Debian package over 1.0.0, which needed the Node.js of the machine',
  { skip: skip || none },
  async t => {
    const { downgrade: _, ...others } = manager; // 1.0.0 needs a Node.js that is gone by then
    await testLife(t, '/', {
      ...others,
      isWithoutTimer: true,
      provide: async lab => {
        await succeed(lab, 'mv', '/usr/bin/node', '/usr/bin/node-of-before');
        const older = `/var/cache/${basename(before)}`;
        copyFileSync(before, lab.path(older));
        return [older, await makePackage(lab, VERSION)];
      },
      install: async (lab, file) => {
        await succeed(lab, 'mv', '/usr/bin/node-of-before', '/usr/bin/node');
        return succeed(lab, 'dpkg', '--force-depends', '--install', file);
      },
      upgrade: async (lab, file) => {
        await succeed(lab, 'rm', '/usr/bin/node'); // nobody needs it any more
        return install(lab, file);
      },
    });
  },
);

t.test(
  'the package for another architecture has its Node.js and its native parts, and no others',
  async t => {
    const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-arm64-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const words = ['deb', '--arch', 'arm64', '--fast', '--out', folder];
    const made = await run([process.execPath, 'scripts/package.mjs', ...words], { timeout: 120_000 });
    t.equal(made.status, 0, text(made));
    await run(['dpkg-deb', '-x', join(folder, `knockd-nft_${VERSION}_arm64.deb`), folder]);
    const { stdout } = await run(['find', folder, '-name', '*.node', '-o', '-path', '*/bin/node']);
    const binaries = stdout.trim().split('\n');
    t.equal(binaries.length, 3);
    for (const file of binaries) t.equal(readFileSync(file).readUInt16LE(18), 183, `${file}: EM_AARCH64`);
    t.match(await run(['dpkg-deb', '-f', join(folder, `knockd-nft_${VERSION}_arm64.deb`), 'Depends']), {
      stdout: /systemd \(>= 249\)/, // for PropagatesStopTo= of the loader
    });
  },
);
