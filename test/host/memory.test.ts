/** Memory that a load leaves behind is given back to the system, and none that may have been changed. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mock } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import t from 'tap';
import { collectGarbage, giveBackMemory, unchangedMappings } from '../../src/host/memory.ts';
import { HUNG } from '../kernel/process.ts';

const SMAPS = `00400000-02c00000 r--p 00000000 fe:00 1234                               /usr/lib/knockd-nft/bin/node
Size:              40960 kB
Rss:               17504 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
02c00000-02c10000 r--p 02800000 fe:00 1234                               /usr/lib/knockd-nft/bin/node
Rss:                  64 kB
Anonymous:             8 kB
02c10000-02c20000 r-xp 02810000 fe:00 1234                               /usr/lib/knockd-nft/bin/node
Anonymous:             0 kB
02c20000-02c30000 rw-p 02820000 fe:00 1234                               /usr/lib/knockd-nft/bin/node
Anonymous:             0 kB
02c30000-02c40000 r--s 00000000 fe:00 1235                               /usr/share/shared
Anonymous:             0 kB
02c40000-02c50000 r--p 00001000 fe:00 1235                               /usr/lib/libm.so.6
Anonymous:             0 kB
Swap:                  4 kB
7f0000000000-7f0000010000 r--p 00000000 00:00 0
Anonymous:             0 kB
7fff00000000-7fff00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`;

t.test('only mappings of files that are read-only and were never written are given back', async t => {
  t.same(unchangedMappings(SMAPS), [
    { start: 0x400000, end: 0x2c00000 },
    { start: 0x2c10000, end: 0x2c20000 },
  ]);
});

/** Kilobytes of files that this process has in memory. */
const ofFiles = () => Number(/^RssFile:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

t.test('after a collection that we asked for, code that V8 compiled and we kept is still of use', t => {
  const cachedData = new Script('(() => 10)()').createCachedData();
  let other = 10; // V8 compares the length of the text, and does not read kept code for a text that it knows
  const isRefused = () => new Script(`(() => ${++other})()`, { cachedData }).cachedDataRejected;
  t.equal(isRefused(), false);
  collectGarbage();
  t.equal(isRefused(), false);
  t.end();
});

t.test(
  'after a large load V8 has the flags again that the process was started with, however its thread ended',
  t => {
    const program = fileURLToPath(new URL('../supervisor/large-load.js', import.meta.url));
    for (const [how, outcome] of [
      ['answers', 'invalid'],
      ['throws', 'failed'],
      ['exits', 'failed'],
    ] as const) {
      const words = ['--optimize-for-size', program, how];
      const { stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: HUNG });
      t.equal(stdout, `refused\n${outcome}, taken\n`, how);
    }
    t.end();
  },
);

t.test('a process that gave back has less of its files in memory, and goes on', async t => {
  const before = ofFiles();
  giveBackMemory();
  const after = ofFiles();
  t.ok(after < before, `${before} kB before, ${after} kB after`);
  t.equal(JSON.stringify({ still: 'alive' }), '{"still":"alive"}');
});

t.test(
  'when the garbage of the load is collected, it gives back once more, and again when that has settled',
  async t => {
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    giveBackMemory();
    for (const [wait, locale] of [
      [15_000, 'de'],
      [60_000, 'fr'],
    ] as const) {
      t.equal(new Intl.DateTimeFormat(locale).resolvedOptions().locale, locale); // needs pages again
      const before = ofFiles();
      mock.timers.tick(wait);
      const after = ofFiles();
      t.ok(after < before, `${before} kB before, ${after} kB after`);
    }
  },
);
