/** The archive with its own scripts, on a machine that has neither dpkg nor rpm. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { VERSION } from '../../src/version.ts';
import { run } from '../kernel/process.ts';
import { makePackage, succeed } from '../system/installed.ts';
import { createLab, type Lab } from '../system/lab.ts';
import { testLife } from './life.ts';
import { debian, missingTree } from './tree.ts';

/** Unpacks it into a folder of its own: the folder's path in the lab. */
async function unpacked(lab: Lab, version: string): Promise<string> {
  const archive = await makePackage(lab, version, 'tarball');
  const folder = `/var/cache/${version}`;
  await succeed(lab, 'mkdir', folder);
  const words = ['-xf', lab.path(archive), '--strip-components=1', '-C', lab.path(folder)];
  const { status, stderr } = await run(['tar', ...words]);
  if (status !== 0) throw new Error(stderr);
  rmSync(lab.path(archive));
  return folder;
}

t.test(
  'the tarball is not installed beside a systemd that is too old for its units',
  { skip: missingTree() },
  async t => {
    const lab = await createLab(t, { tree: await debian('trixie') });
    const folder = await unpacked(lab, VERSION);
    await succeed(lab, 'mkdir', '/root/older');
    const script = '#!/bin/sh\necho "systemd 247 (247.3-7)"\n';
    writeFileSync(lab.path('/root/older/systemctl'), script, { mode: 0o755 });
    const { status, stderr } = await lab.run('sh', ['-c', `PATH=/root/older:$PATH ${folder}/install.sh`]);
    t.equal(status, 1);
    t.match(stderr, 'the units need systemd 249 or newer; this is 247. Nothing was installed');
    t.notOk(existsSync(lab.path('/usr/lib/knockd-nft')));
  },
);

t.test('the tarball', { skip: missingTree() }, async t =>
  testLife(t, await debian('trixie'), {
    async provide(lab) {
      const managers =
        'rm -rf /usr/bin/dpkg* /usr/bin/apt* /usr/bin/deb-systemd-* /usr/bin/rpm* /var/lib/dpkg /var/lib/rpm';
      await succeed(lab, 'sh', '-c', managers);
      return [await unpacked(lab, VERSION), await unpacked(lab, '9.9.9')];
    },
    install: (lab, folder) => succeed(lab, `${folder}/install.sh`),
    upgrade: (lab, folder) => succeed(lab, `${folder}/install.sh`),
    downgrade: (lab, folder) => succeed(lab, `${folder}/install.sh`),
    remove: lab => succeed(lab, '/usr/lib/knockd-nft/uninstall.sh'),
    purge: lab => succeed(lab, '/var/cache/9.9.9/uninstall.sh', '--purge'),
  }),
);
