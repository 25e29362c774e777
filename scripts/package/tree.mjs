/** The files of all packages, with their places. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { compileIn } from '../compile.mjs';
import { koffiFor, nodeFor, root } from './runtime.mjs';

export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** `description` in lines for control files. */
export const about = {
  summary: 'port knocking that the Linux kernel does itself, inside nftables',
  description: [
    'A server hides a service such as ssh behind one-time tokens or a sequence of',
    'knocks. All of that is done by an nftables ruleset: no daemon listens to',
    'packets. knockd-nft writes that ruleset, keeps it in step with its',
    'configuration file and reports to the journal who was let in.',
  ],
};

/** The oldest version whose units pass a stop on (PropagatesStopTo=): with an older one, a stopped loader would not unload. */
export const SYSTEMD = 249;

/** A tree of files whose modes do not depend on the clone's. */
export function treeIn(folder) {
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

/** All files and links below a folder, as paths in it. */
export function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory())
    .map(entry => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** Folders are made with the umask's modes. */
export function openFolders(folder) {
  for (const path of ['.', ...readdirSync(folder, { recursive: true }).map(String)])
    if (statSync(join(folder, path)).isDirectory()) chmodSync(join(folder, path), 0o755);
}

/** A script of packaging/, with the part that all have in common. */
export function scriptText(name, values = {}) {
  const common = readFileSync(join(root, 'packaging/common.sh'), 'utf8').trimEnd();
  const text = readFileSync(join(root, 'packaging', name), 'utf8');
  return Object.entries({ COMMON: common, ...values }).reduce(
    (filled, [word, value]) => filled.replaceAll(`@${word}@`, () => value),
    text,
  );
}

/** All that is installed, for a CPU by Node.js's name, but for what has another place in each kind of package. */
export function stage(folder, cpu) {
  const tree = treeIn(folder);
  stageProgram(tree, cpu);
  stageModules(tree, cpu);
  // V8's code is for the CPU that compiles it
  const node = cpu === process.arch ? join(nodeFor(cpu), 'bin/node') : undefined;
  compileIn(join(folder, 'usr/lib/knockd-nft'), node);
  stageManuals(tree);
  openFolders(folder);
}

function stageProgram(tree, cpu) {
  const node = nodeFor(cpu);
  const program = 'usr/lib/knockd-nft';
  // SELinux's rules let services run programs in a folder named bin
  tree.copy(join(node, 'bin/node'), `${program}/bin/node`, 0o755);
  for (const file of ['knockd-nft.cjs', 'client.cjs'])
    tree.copy(join(root, 'dist', file), `${program}/dist/${file}`, 0o755);
  tree.write(
    'usr/bin/knockd-nft',
    `#!/bin/sh\nexec /${program}/bin/node /${program}/compiled/knockd-nft.cjs "$@"\n`,
    0o755,
  );
  for (const unit of readdirSync(join(root, 'systemd')).filter(name => /\.(service|timer)$/.test(name)))
    tree.copy(join(root, 'systemd', unit), `usr/lib/systemd/system/${unit}`);
  tree.copy(join(root, 'systemd/knockd-nft.sysusers'), 'usr/lib/sysusers.d/knockd-nft.conf');
  tree.copy(join(root, 'config/knockd-nft.schema.json'), 'usr/share/knockd-nft/knockd-nft.schema.json');
  tree.copy(join(root, 'completion/knockd-nft.bash'), 'usr/share/bash-completion/completions/knockd-nft');
  tree.copy(join(root, 'completion/knockd-nft.fish'), 'usr/share/fish/vendor_completions.d/knockd-nft.fish');
}

/** The files that `netlink` and koffi need at run time, and no more. */
function stageModules(tree, cpu) {
  const to = 'usr/lib/knockd-nft/node_modules';
  const files = [
    'netlink/package.json',
    'netlink/LICENSE',
    `netlink/prebuilds/linux-${cpu}/node.napi.node`,
    'node-gyp-build/package.json',
    'node-gyp-build/LICENSE',
    'node-gyp-build/index.js',
    'node-gyp-build/node-gyp-build.js',
    'koffi/package.json',
    'koffi/LICENSE.txt',
    'koffi/index.cjs',
    'koffi/src/koffi/index.cjs',
    'koffi/src/koffi/src/static.cjs',
  ];
  for (const file of files) tree.copy(join(root, 'node_modules', file), `${to}/${file}`);
  const native = koffiFor(cpu);
  for (const file of ['package.json', 'index.js', `linux_${cpu}/koffi.node`])
    tree.copy(join(native, file), `${to}/@koromix/koffi-linux-${cpu}/${file}`);
}

function stageManuals(tree) {
  for (const page of readdirSync(join(root, 'man')).filter(name => /\.[1-8]$/.test(name)))
    tree.write(
      `usr/share/man/man${page.at(-1)}/${page}.gz`,
      gzipSync(readFileSync(join(root, 'man', page)), { level: 9 }),
    );
  const to = 'usr/share/doc/knockd-nft';
  tree.copy(join(root, 'config/knockd-nft.json'), `${to}/examples/knockd-nft.json`);
  tree.link('examples', `${to}/config`); // the documents' name for it
  tree.write(`${to}/copyright`, copyright());
  tree.copy(join(root, 'README.md'), `${to}/README.md`);
  tree.copy(join(root, 'page/knock.html'), `${to}/page/knock.html`);
  for (const name of filesOf(join(root, 'docs'))) tree.copy(join(root, 'docs', name), `${to}/docs/${name}`);
}

function copyright() {
  const text = file => readFileSync(file, 'utf8').trim();
  const bundled = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }).map(name => {
    const folder = join(root, 'node_modules', name);
    const file = readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry));
    return `${name}\n\n${file ? text(join(folder, file)) : 'see its package'}`;
  });
  const parts = [
    `${manifest.name}\n\n${text(join(root, 'LICENSE'))}`,
    ...bundled,
    `Node.js\n\n${text(join(nodeFor(process.arch), 'LICENSE'))}`,
  ];
  return parts.join(`\n\n${'-'.repeat(72)}\n\n`).concat('\n');
}
