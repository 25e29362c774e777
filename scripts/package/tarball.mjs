/** For distributions without dpkg and rpm. */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './runtime.mjs';
import { SYSTEMD, scriptText, treeIn } from './tree.mjs';

export const needs = { program: 'tar', package: 'tar' };
/** By the name that `uname -m` has for them. */
export const architectures = { x86_64: 'x64', aarch64: 'arm64' };
/** Where zsh looks for completion, on most distributions. */
export const zsh = 'usr/share/zsh/site-functions';

const nameOf = (version, arch) => `knockd-nft-${version}-${arch}`;

export function fileName(version, arch) {
  return `${nameOf(version, arch)}.tar.xz`;
}

/** Of the tree in `folder`, which moves. */
export function make(folder, file, { arch, version, fast, temporary }) {
  const name = nameOf(version, arch);
  mkdirSync(join(temporary, name));
  renameSync(folder, join(temporary, name, 'files'));
  const tree = treeIn(join(temporary, name));
  for (const script of ['install.sh', 'uninstall.sh'])
    tree.write(script, scriptText(`tarball/${script}`, { MACHINE: arch, SYSTEMD: String(SYSTEMD) }), 0o755);
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--sort=name'];
  const compression = ['--use-compress-program', fast ? 'xz -0' : 'xz -6 -T0'];
  run('tar', ['-cf', file, ...compression, ...owner, '-C', temporary, name]);
}
