/**
 * Makes the Debian packages, one for each architecture, in build/deb: `npm run deb`, after a build.
 *
 *     node scripts/deb.mjs [--arch amd64] [--version 1.0.1] [--out FOLDER]
 *
 * The native packages of other architectures than this machine's come from the registry, as the lock file names
 * them; where it cannot be reached, only this machine's package is made.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { packagedConfiguration } from '../build/src/init/document.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Debian's architectures, and what Node.js (and npm) and koffi call them. */
const architectures = {
  amd64: { node: 'x64', koffi: 'linux_x64' },
  arm64: { node: 'arm64', koffi: 'linux_arm64' },
  armhf: { node: 'arm', koffi: 'linux_armhf' },
};

const { values: options } = parseArgs({
  options: {
    arch: { type: 'string', multiple: true, default: Object.keys(architectures) },
    version: { type: 'string', default: manifest.version },
    out: { type: 'string', default: join(root, 'build/deb') },
  },
});

function fail(text) {
  throw new Error(text);
}

function run(command, args, cwd = root) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8' });
  const { status, stdout, stderr, error } = result;
  return { ok: status === 0, text: `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`.trim() };
}

/** Fills a tree with files whose modes do not depend on the clone's. */
function stage(folder) {
  const put = (path, mode, write) => {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    write(file);
    chmodSync(file, mode);
  };
  return {
    write: (path, text, mode = 0o644) => put(path, mode, file => writeFileSync(file, text)),
    copy: (from, path, mode = 0o644) => put(path, mode, file => copyFileSync(from, file)),
    link: (target, path) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      symlinkSync(target, join(folder, path));
    },
  };
}

/** All files below a folder, as paths in it. */
function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

function copyright() {
  const license = name => readFileSync(join(root, name), 'utf8').trim();
  const bundled = Object.keys(manifest.dependencies).map(name => {
    const folder = join('node_modules', name);
    const file = readdirSync(join(root, folder)).find(entry => /^licen[cs]e/i.test(entry));
    return `${name}\n\n${file ? license(join(folder, file)) : 'see its package'}`;
  });
  return [`${manifest.name}\n\n${license('LICENSE')}`, ...bundled]
    .join(`\n\n${'-'.repeat(72)}\n\n`)
    .concat('\n');
}

/** What `netlink` and koffi need at run time, and no more. */
function stageModules(tree, modules, { node, koffi }) {
  const to = 'usr/lib/knockd-nft/node_modules';
  const platform = `@koromix/koffi-linux-${node}`;
  const files = [
    'netlink/package.json',
    'netlink/LICENSE',
    'netlink/dist/raw.js',
    `netlink/prebuilds/linux-${node}/node.napi.node`,
    'node-gyp-build/package.json',
    'node-gyp-build/LICENSE',
    'node-gyp-build/index.js',
    'node-gyp-build/node-gyp-build.js',
    'koffi/package.json',
    'koffi/LICENSE.txt',
    'koffi/index.cjs',
    'koffi/src/koffi/index.cjs',
    'koffi/src/koffi/src/static.cjs',
    `${platform}/package.json`,
    `${platform}/index.js`,
    `${platform}/${koffi}/koffi.node`,
  ];
  for (const file of files) tree.copy(join(modules, file), `${to}/${file}`);
}

/** Manual pages and completions, where there are any. */
function stageExtras(tree) {
  const pages = join(root, 'man');
  const completions = join(root, 'completion');
  for (const page of existsSync(pages) ? readdirSync(pages).filter(name => /\.[1-8]$/.test(name)) : []) {
    tree.write(
      `usr/share/man/man${page.at(-1)}/${page}.gz`,
      gzipSync(readFileSync(join(pages, page)), { level: 9 }),
    );
  }
  if (existsSync(join(completions, 'knockd-nft.bash')))
    tree.copy(join(completions, 'knockd-nft.bash'), 'usr/share/bash-completion/completions/knockd-nft');
  tree.copy(join(completions, '_knockd-nft'), 'usr/share/zsh/vendor-completions/_knockd-nft');
  tree.copy(join(completions, 'knockd-nft.fish'), 'usr/share/fish/vendor_completions.d/knockd-nft.fish');
}

function stageProgram(tree) {
  tree.copy(join(root, 'dist/knockd-nft.cjs'), 'usr/lib/knockd-nft/dist/knockd-nft.cjs', 0o755);
  tree.link('../lib/knockd-nft/dist/knockd-nft.cjs', 'usr/bin/knockd-nft');
  for (const unit of readdirSync(join(root, 'systemd')).filter(name => /\.(service|timer)$/.test(name)))
    tree.copy(join(root, 'systemd', unit), `usr/lib/systemd/system/${unit}`);
  tree.copy(join(root, 'systemd/knockd-nft.sysusers'), 'usr/lib/sysusers.d/knockd-nft.conf');
  const example = readFileSync(join(root, 'config/knockd-nft.json'), 'utf8');
  tree.write('usr/share/knockd-nft/knockd-nft.json', packagedConfiguration(example));
  tree.copy(join(root, 'config/knockd-nft.schema.json'), 'usr/share/knockd-nft/knockd-nft.schema.json');
  tree.copy(join(root, 'config/knockd-nft.json'), 'usr/share/doc/knockd-nft/examples/knockd-nft.json');
  tree.link('examples', 'usr/share/doc/knockd-nft/config'); // the documents' name for it
  tree.write('usr/share/doc/knockd-nft/copyright', copyright());
  if (existsSync(join(root, 'README.md')))
    tree.copy(join(root, 'README.md'), 'usr/share/doc/knockd-nft/README.md');
  tree.copy(join(root, 'page/knock.html'), 'usr/share/doc/knockd-nft/page/knock.html');
  for (const name of filesOf(join(root, 'docs')))
    tree.copy(join(root, 'docs', name), `usr/share/doc/knockd-nft/docs/${name}`);
}

function stageControl(tree, folder, arch) {
  const files = filesOf(folder);
  const size = files.reduce((sum, file) => sum + Math.ceil(statSync(join(folder, file)).size / 1024), 0);
  const fields = {
    Package: 'knockd-nft',
    Version: options.version,
    Architecture: arch,
    Maintainer: `${manifest.author} <root@localhost>`,
    'Installed-Size': size,
    Depends:
      'nodejs (>= 20), libc6 (>= 2.25), libstdc++6, libgcc-s1, systemd | systemd-standalone-sysusers, init-system-helpers (>= 1.54)',
    Section: 'net',
    Priority: 'optional',
    Description: 'port knocking that the Linux kernel does itself, inside nftables',
  };
  const description = [
    ' A server hides a service such as ssh behind a sequence of knocks. All the',
    ' knocking is done by an nftables ruleset: no daemon listens to packets.',
    ' knockd-nft writes that ruleset, keeps it in step with its configuration file',
    ' and reports to the journal who was let in.',
  ];
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  const sums = files.map(
    file =>
      `${createHash('md5')
        .update(readFileSync(join(folder, file)))
        .digest('hex')}  ${file}`,
  );
  tree.write('DEBIAN/control', `${[...lines, ...description].join('\n')}\n`);
  tree.write('DEBIAN/md5sums', `${sums.join('\n')}\n`);
  for (const script of ['postinst', 'prerm', 'postrm'])
    tree.copy(join(root, 'packaging/deb', script), `DEBIAN/${script}`, 0o755);
}

/** The modules of another architecture; undefined where the registry cannot be reached. */
function fetchModules(cpu, folder) {
  for (const file of ['package.json', 'package-lock.json'])
    copyFileSync(join(root, file), join(folder, file));
  const npm = /npm-cli\.c?js$/.test(process.env.npm_execpath ?? '')
    ? [process.execPath, process.env.npm_execpath]
    : ['npm'];
  const [command, ...first] = npm;
  const flags = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--os=linux', '--libc=glibc'];
  const { ok, text } = run(command, [...first, 'ci', ...flags, `--cpu=${cpu}`], folder);
  if (ok && existsSync(join(folder, 'node_modules/@koromix', `koffi-linux-${cpu}`)))
    return join(folder, 'node_modules');
  process.stderr.write(`${text}\n`);
  return undefined;
}

function makePackage(arch, temporary) {
  const names = architectures[arch];
  if (!names) fail(`there is no architecture ${arch} here: ${Object.keys(architectures).join(', ')}`);
  const modulesFolder = join(temporary, `npm-${arch}`);
  mkdirSync(modulesFolder);
  const native = names.node === process.arch;
  const modules = native ? join(root, 'node_modules') : fetchModules(names.node, modulesFolder);
  if (!modules) {
    process.stderr.write(`${arch} is left out: its native packages cannot be had from the registry\n`);
    return;
  }
  const folder = join(temporary, arch);
  mkdirSync(folder);
  const tree = stage(folder);
  stageProgram(tree);
  stageModules(tree, modules, names);
  stageExtras(tree);
  stageControl(tree, folder, arch);
  if (native) {
    const check = "require('netlink/dist/raw.js'); require('koffi').load(null)";
    const { ok, text } = run(process.execPath, ['-e', check], join(folder, 'usr/lib/knockd-nft'));
    if (!ok) fail(`the packaged modules do not load: ${text}`);
  }
  for (const path of ['.', ...readdirSync(folder, { recursive: true }).map(String)])
    if (statSync(join(folder, path)).isDirectory()) chmodSync(join(folder, path), 0o755);
  const file = join(options.out, `knockd-nft_${options.version}_${arch}.deb`);
  const { ok, text } = run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', folder, file]);
  if (!ok) fail(`dpkg-deb: ${text}`);
  const kilobytes = Math.round(statSync(file).size / 1024);
  process.stdout.write(`${basename(file)} (${kilobytes} kB)\n`);
}

function makePackages() {
  if (!existsSync(join(root, 'dist/knockd-nft.cjs'))) fail('dist/knockd-nft.cjs is missing: npm run build');
  if (!run('dpkg-deb', ['--version']).ok) fail('dpkg-deb is missing (Debian: apt install dpkg)');
  mkdirSync(options.out, { recursive: true });
  const temporary = mkdtempSync(join(tmpdir(), 'knockd-nft-deb-'));
  try {
    for (const arch of new Set(options.arch)) makePackage(arch, temporary);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

try {
  makePackages();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
