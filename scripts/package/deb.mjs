/** For Debian, Ubuntu and those that are made of them. */
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './runtime.mjs';
import { about, filesOf, manifest, SYSTEMD, scriptText, treeIn } from './tree.mjs';

export const needs = { program: 'dpkg-deb', package: 'dpkg' };
export const architectures = { amd64: 'x64', arm64: 'arm64' };
/** Where zsh looks for completion there. */
export const zsh = 'usr/share/zsh/vendor-completions';

export function fileName(version, arch) {
  return `knockd-nft_${version}_${arch}.deb`;
}

/** Of the tree in `folder`, which gets the control files. */
export function make(folder, file, { arch, version, fast }) {
  const tree = treeIn(folder);
  const files = filesOf(folder).filter(path => lstatSync(join(folder, path)).isFile());
  const size = files.reduce((sum, path) => sum + Math.ceil(statSync(join(folder, path)).size / 1024), 0);
  const fields = {
    Package: 'knockd-nft',
    Version: version,
    Architecture: arch,
    Maintainer: `${manifest.author} <root@localhost>`,
    'Installed-Size': size,
    Depends: [
      'libc6 (>= 2.28)',
      'libstdc++6 (>= 8)',
      'libgcc-s1 | libgcc1',
      `systemd (>= ${SYSTEMD}) | systemd-standalone-sysusers (>= ${SYSTEMD})`,
      'init-system-helpers (>= 1.54)',
    ].join(', '),
    Section: 'net',
    Priority: 'optional',
    Description: about.summary,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  tree.write('DEBIAN/control', `${[...lines, ...about.description.map(line => ` ${line}`)].join('\n')}\n`);
  const md5 = path =>
    createHash('md5')
      .update(readFileSync(join(folder, path)))
      .digest('hex');
  tree.write('DEBIAN/md5sums', files.map(path => `${md5(path)}  ${path}\n`).join(''));
  for (const name of ['postinst', 'prerm', 'postrm'])
    tree.write(`DEBIAN/${name}`, scriptText(`deb/${name}`), 0o755);
  run('dpkg-deb', ['--root-owner-group', fast ? '-Znone' : '-Zxz', '--build', folder, file]);
}
