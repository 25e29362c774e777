/** For Fedora, RHEL, openSUSE and their kin. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './runtime.mjs';
import { about, filesOf, SYSTEMD, scriptText, treeIn } from './tree.mjs';

export const needs = { program: 'rpmbuild', package: 'rpm' };
export const architectures = { x86_64: 'x64', aarch64: 'arm64' };
/** Where zsh looks for completion there. */
export const zsh = 'usr/share/zsh/site-functions';

export function fileName(version, arch) {
  return `knockd-nft-${version}-1.${arch}.rpm`;
}

/** Of the tree in `folder`. */
export function make(folder, file, { arch, version, fast, temporary }) {
  treeIn(folder).copy(
    join(root, 'packaging/rpm/knockd-nft.preset'),
    'usr/lib/systemd/system-preset/85-knockd-nft.preset',
  );
  const spec = join(temporary, 'knockd-nft.spec');
  writeFileSync(
    spec,
    scriptText('rpm/knockd-nft.spec', {
      VERSION: version,
      SYSTEMD: String(SYSTEMD),
      DESCRIPTION: about.description.join('\n'),
      PAYLOAD: fast ? 'w0.ufdio' : 'w6.xzdio',
      TREE: folder,
      FILES: ownedBy(folder).join('\n'),
    }),
  );
  const defines = [`_topdir ${temporary}/rpm`, `_rpmdir ${temporary}`, '_build_name_fmt made.rpm'];
  run('rpmbuild', ['-bb', '--quiet', '--target', arch, ...defines.flatMap(it => ['--define', it]), spec]);
  copyFileSync(join(temporary, 'made.rpm'), file);
}

/** Files, and the folders that nobody else has, as the package's own. */
function ownedBy(folder) {
  const ours = /^usr\/(lib|share|share\/doc)\/knockd-nft(?=\/)/;
  return [...new Set(filesOf(folder).map(file => `/${ours.exec(file)?.[0] ?? file}`))];
}
