/** The rpm, by the rpm that Debian has, whose database knows none of Debian's packages. */
import t from 'tap';
import { VERSION } from '../../src/version.ts';
import { lacking } from '../kernel/process.ts';
import { makePackage, succeed } from '../system/installed.ts';
import type { Lab } from '../system/lab.ts';
import { testLife } from './life.ts';
import { debian, missingTree } from './tree.ts';

/** Debian's rpm would keep its database in the user's home, which is gone at a reboot. */
function rpm(lab: Lab, ...words: readonly string[]): Promise<string> {
  return succeed(lab, 'rpm', '--dbpath', '/var/lib/rpm', ...words);
}

t.test('the rpm', { skip: missingTree() || lacking('rpmbuild') }, async t =>
  testLife(t, await debian('bookworm'), {
    async provide(lab) {
      const packages = [
        await makePackage(lab, VERSION, 'rpm'),
        await makePackage(lab, '9.9.9', 'rpm'),
      ] as const;
      const needed = await rpm(lab, '-qp', '--requires', packages[0]);
      t.match(needed, /^systemd >= 249$/m); // for PropagatesStopTo= of the loader
      return packages;
    },
    install: (lab, file) => rpm(lab, '--nodeps', '-i', file),
    upgrade: (lab, file) => rpm(lab, '--nodeps', '-U', file),
    downgrade: (lab, file) => rpm(lab, '--nodeps', '-U', '--oldpackage', file),
    remove: lab => rpm(lab, '-e', 'knockd-nft'),
    // as docs/operating.md has it
    purge: lab => succeed(lab, 'sh', '-c', 'rm -rf /etc/knockd-nft.json* /var/lib/knockd-nft'),
  }),
);
