import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { monotonic } from '../../src/host/clock.ts';
import {
  announceSupervisor,
  holdText,
  readHold,
  retractSupervisor,
  runningSupervisor,
  writeHold,
} from '../../src/host/hold.ts';
import { startOf } from '../../src/host/proc.ts';
import { onBoot } from '../boot.ts';

t.test('a hold counts if it makes sense, and then it has a text', t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const env = { RUNTIME_DIRECTORY: folder };
  for (const text of [
    '',
    'null',
    '5',
    '{}',
    '{"reason":5}',
    '{"reason":"x","until":1}',
    '{"reason":"x","until":1e300}',
    '{"reason":"x","until":-1e300,"lasts":{"from":0,"to":1e300}}',
  ]) {
    writeFileSync(join(folder, 'hold'), text);
    t.equal(readHold(env), undefined, text);
  }
  writeFileSync(join(folder, 'hold'), '{"reason":"trying","until":4000000000000}');
  const hold = readHold(env);
  t.equal(hold && holdText(hold), 'trying, until 2096-10-02T07:06:40.000Z');
  t.end();
});

t.test('a hold of a trial ends after its time, however the clock is set meanwhile', t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const env = { RUNTIME_DIRECTORY: folder };
  const hour = 3_600_000;
  const hold = (until: number, from: number, to: number) => {
    const now = monotonic();
    writeHold(env, { reason: 'trying', until, lasts: { from: now + from, to: now + to } });
    return readHold(env)?.reason;
  };
  t.equal(hold(Date.now() - hour, 0, hour), 'trying', 'the clock was set forward');
  t.equal(hold(Date.now() + hour, -hour, 0), undefined, 'the clock was set back');
  t.equal(hold(Date.now() + hour, hour, 2 * hour), undefined, 'it is of a boot before');
  t.end();
});

t.test(
  'a boot ends each hold, at whatever uptime that began, and tells no process by the number of another',
  t => {
    const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const env = { RUNTIME_DIRECTORY: folder };
    const now = monotonic();
    for (const [until, lasts] of [
      [null, {}],
      [Date.now() + 60_000, { lasts: { from: now, to: now + 60_000 } }],
    ] as const) {
      const hold = { reason: 'trying', until, ...lasts };
      onBoot('1', () => {
        writeHold(env, hold);
        t.same(readHold(env), hold);
      });
      onBoot('2', () => t.equal(readHold(env), undefined));
      onBoot('1', () => t.same(readHold(env), hold));
    }
    const config = join(folder, 'knockd-nft.json');
    onBoot('1', () => {
      announceSupervisor(env, config);
      t.same(runningSupervisor(env), { pid: process.pid, config });
    });
    onBoot('2', () => t.equal(runningSupervisor(env), undefined));
    t.end();
  },
);

t.test('a supervisor that ends late does not take away the note of the next one', t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const env = { RUNTIME_DIRECTORY: folder };
  announceSupervisor(env, 'file');
  const note = join(folder, 'supervisor.pid');
  const [, ...lines] = readFileSync(note, 'utf8').split('\n');
  const others = [process.ppid, lines[0], startOf(process.ppid), ...lines.slice(2)].join('\n');
  writeFileSync(note, others);
  retractSupervisor(env);
  t.equal(runningSupervisor(env)?.pid, process.ppid);
  t.notOk(announceSupervisor(env, 'file'), 'nor does another one take its place');
  rmSync(note);
  t.ok(announceSupervisor(env, 'file'));
  retractSupervisor(env);
  t.notOk(existsSync(note), 'its own goes');
  t.end();
});
