/** The archive that a guest boots into, read by another program. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { lacking } from '../kernel/process.ts';
import { archive } from './archive.ts';

t.test(
  'folders, files with their modes, and links come out as they went in',
  { skip: lacking('busybox') },
  async t => {
    const folder = t.testdir({ from: { sub: { empty: {} }, init: '#!/bin/sh\n' }, to: {} });
    const odd = Buffer.from([0, 1, 255, 10, 7]);
    writeFileSync(join(folder, 'from/sub/odd'), odd, { mode: 0o755 });
    symlinkSync('../init', join(folder, 'from/sub/link'));
    mkdirSync(join(folder, 'from/tmp'));
    archive(join(folder, 'from'), join(folder, 'root.cpio'));
    const { status, stderr } = spawnSync('busybox', ['cpio', '-id'], {
      cwd: join(folder, 'to'),
      input: readFileSync(join(folder, 'root.cpio')),
      encoding: 'utf8',
    });
    t.equal(status, 0, stderr);
    t.strictSame(readFileSync(join(folder, 'to/sub/odd')), odd);
    t.equal(statSync(join(folder, 'to/sub/odd')).mode & 0o777, 0o755);
    t.equal(readlinkSync(join(folder, 'to/sub/link')), '../init');
    t.ok(statSync(join(folder, 'to/sub/empty')).isDirectory());
    t.equal(readFileSync(join(folder, 'to/init'), 'utf8'), '#!/bin/sh\n');
  },
);
