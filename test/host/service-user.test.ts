/** Whether another user can read a file: the kernel says so, by all of its rules. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findUser, keptFrom, letRead } from '../../src/host/service-user.ts';
import { lacking } from '../kernel/process.ts';
import { sendsLarge } from '../kernel/world.ts';

const skip =
  (!sendsLarge && 'only root may become another user') || (!findUser('nobody') && 'no user nobody');

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'knockd-nft-user-'));
  chmodSync(path, 0o755);
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

function secret(path: string, mode: number): string {
  writeFileSync(path, 'secret');
  chmodSync(path, mode);
  return path;
}

t.test('a file of root alone is kept from others, one that they may read is not', { skip }, async t => {
  const here = folder(t);
  const path = secret(join(here, 'file'), 0o600);
  t.equal(keptFrom('nobody', path), path);
  chmodSync(path, 0o644);
  t.equal(keptFrom('nobody', path), undefined);
  chmodSync(path, 0o640);
  chownSync(path, 0, findUser('nobody')?.gid ?? 0);
  t.equal(keptFrom('nobody', path), undefined, 'by its group');
});

t.test('each folder on the way counts, also behind a link', { skip }, async t => {
  const here = folder(t);
  mkdirSync(join(here, 'inner'), { mode: 0o700 });
  const path = secret(join(here, 'inner', 'file'), 0o644);
  t.equal(keptFrom('nobody', path), join(here, 'inner'));
  symlinkSync(path, join(here, 'link'));
  t.equal(keptFrom('nobody', join(here, 'link')), join(here, 'inner'));
  chmodSync(join(here, 'inner'), 0o711);
  t.equal(keptFrom('nobody', join(here, 'link')), undefined);
});

t.test('of several files, the first that is kept from the user is named', { skip }, async t => {
  const here = folder(t);
  const [open, closed, other] = [0o644, 0o600, 0o600].map((mode, index) =>
    secret(join(here, `file${index}`), mode),
  );
  t.equal(keptFrom('nobody', open ?? '', closed ?? '', other ?? ''), closed);
  chmodSync(closed ?? '', 0o604);
  chmodSync(other ?? '', 0o604);
  t.equal(keptFrom('nobody', open ?? '', closed ?? '', other ?? ''), undefined);
});

t.test('an access list that lets the user in counts', { skip: skip || lacking('setfacl') }, async t => {
  const path = secret(join(folder(t), 'file'), 0o600);
  t.equal(spawnSync('setfacl', ['-m', 'u:nobody:r', path]).status, 0);
  t.equal(keptFrom('nobody', path), undefined);
});

t.test(
  'root can let the group read, and takes nothing from a group that somebody chose',
  { skip },
  async t => {
    const path = secret(join(folder(t), 'file'), 0o600);
    t.ok(letRead('nobody', path));
    t.equal(statSync(path).mode & 0o777, 0o640);
    t.equal(keptFrom('nobody', path), undefined);
    const theirs = secret(join(folder(t), 'theirs'), 0o640);
    chownSync(theirs, 0, 4);
    t.notOk(letRead('nobody', theirs));
    t.equal(statSync(theirs).gid, 4);
  },
);

t.test('if nobody can tell, nothing is claimed', async t => {
  t.equal(keptFrom('no-such-user', secret(join(folder(t), 'file'), 0o600)), null);
});
