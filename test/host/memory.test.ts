/** Memory that a load leaves behind is given back to the system, and none that may have been changed. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { giveBackMemory, unchangedMappings } from '../../src/host/memory.ts';

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

t.test('a process that gave back has less of its files in memory, and goes on', async t => {
  const ofFiles = () =>
    [...readFileSync('/proc/self/status', 'utf8').matchAll(/^RssFile:\s+(\d+)/gm)].map(([, it]) =>
      Number(it),
    )[0] ?? 0;
  const before = ofFiles();
  giveBackMemory();
  const after = ofFiles();
  t.ok(after < before, `${before} kB before, ${after} kB after`);
  t.equal(JSON.stringify({ still: 'alive' }), '{"still":"alive"}');
});
