import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { writeWhole } from '../../src/host/files.ts';

t.test('a file that cannot be written is named in the same words each time', t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [nowhere, taken] = [join(folder, 'none/file'), join(folder, 'taken')];
  mkdirSync(taken);
  for (const [path, code, call] of [
    [nowhere, 'ENOENT', 'open'],
    [taken, 'EISDIR', 'rename'],
  ] as const)
    for (let time = 0; time < 2; time++)
      t.throws(() => writeWhole(path, '', { mode: 0o600 }), {
        code,
        message: new RegExp(`^${code}: [^,]*, ${call} '${path}'$`),
      });
  t.end();
});
