/** The file of metrics: when it is written, and what is said if it cannot be. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Sample } from '../../src/metrics/sample.ts';
import { MetricsFile } from '../../src/supervisor/metrics-file.ts';

const sample: Sample = {
  version: '1.1.0',
  supervisor: true,
  loaded: true,
  inSync: true,
  held: false,
  troubles: 0,
  services: [],
  knocking: undefined,
  wrongKnocks: 0,
  tokens: undefined,
  lostEvents: 0,
};

/** A file that is wanted, and what is said of it. */
function wanted(t: Test, take: () => Promise<Sample> | undefined) {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const said: string[] = [];
  const file = new MetricsFile({ RUNTIME_DIRECTORY: folder }, take, text => said.push(text));
  file.want(true);
  const look = async (now: number) => {
    file.look(now);
    for (let turns = 0; turns < 5; turns++) await turn();
  };
  return { file, look, said, isThere: () => existsSync(join(folder, 'metrics.prom')) };
}

t.test('a kernel that cannot be asked yet is no failure, and the next look writes the file', async t => {
  let isAsked = false;
  const { look, said, isThere } = wanted(t, () => (isAsked ? Promise.resolve(sample) : undefined));
  await look(0);
  isAsked = true;
  await look(1000);
  t.ok(isThere());
  t.same(said, []);
});

t.test('a failure is reported once, and again after a success', async t => {
  let failure: Error | undefined = new Error('no memory');
  const { file, look, said } = wanted(t, () => (failure ? Promise.reject(failure) : Promise.resolve(sample)));
  for (const [now, next] of [
    [0, failure],
    [20_000, undefined],
    [40_000, failure],
    [60_000, failure],
  ] as const) {
    await look(now);
    failure = next;
    file.soon();
  }
  t.same(said, Array(2).fill('metrics cannot be written: no memory; trying again'));
});

t.test('a supervisor that stops says nothing of a question that it ends', async t => {
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<Sample>((_, no) => {
    reject = no;
  });
  const { file, look, said, isThere } = wanted(t, () => promise);
  await look(0);
  reject(new Error('the connection is closed'));
  file.remove();
  await turn();
  t.same(said, []);
  t.notOk(isThere());
});
