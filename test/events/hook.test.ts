/** Commands that run for events: bounded in number and in time, whatever they do. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Told } from '../../src/events/event.ts';
import { Hook } from '../../src/events/hook.ts';
import { until } from '../supervisor/supervised.ts';

const told: Told = {
  level: 30,
  time: 1,
  event: 'opened',
  service: 'ssh',
  client: '192.0.2.7',
  user: null,
  openFor: 10,
  msg: 'opened ssh for 192.0.2.7',
};

/** A hook of a shell's script, which finds a folder of its own in $0; what it warns of, and the files. */
function hook(t: Test, script: string, { timeout = 60_000, atOnce = 1 } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-hook-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const made = new Hook(['sh', '-c', script, folder], { timeout, atOnce, warn });
  t.teardown(() => made.close());
  const file = (name: string) => {
    const path = join(folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  };
  const written = (name: string, wanted: (text: string) => boolean = text => text !== '') =>
    until(async () => file(name), wanted);
  return { hook: made, warnings, file, written };
}

const isRunning = (pid: string) => {
  try {
    process.kill(Number(pid), 0);
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${Number(pid)}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

t.test(
  'a command has the event in its environment and on its standard input, and no shell reads it',
  async t => {
    const script = 'cat >"$0/stdin"; env >"$0/env.new"; mv "$0/env.new" "$0/env"';
    const { hook: made, file, written } = hook(t, script);
    const line = JSON.stringify(told);
    made.add({ ...told, reason: '$(touch broken) `id` "\n\0' }, line);
    const env = await written('env');
    t.equal(file('stdin'), `${line}\n`);
    for (const variable of [
      'EVENT=opened',
      'SERVICE=ssh',
      'CLIENT=192.0.2.7',
      'USER=',
      'OPEN_FOR=10',
      'TIME=1',
    ])
      t.match(env, `KNOCKD_NFT_${variable}\n`);
    t.match(env, 'KNOCKD_NFT_MESSAGE=opened ssh for 192.0.2.7\n');
    t.match(env, 'KNOCKD_NFT_REASON=$(touch broken) `id` "\n');
  },
);

t.test('a command that fails is reported with its exit status, and the next one runs', async t => {
  const { hook: made, warnings, written } = hook(t, 'echo >>"$0/runs"; exit 3');
  made.add(told, '{}');
  made.add(told, '{}');
  await written('runs', text => text.length === 2);
  await made.close();
  t.same(warnings, Array(2).fill('"sh" ended with exit status 3, for: opened ssh for 192.0.2.7'));
  const none = new Hook(['/nowhere/nothing'], { timeout: 1000, atOnce: 1, warn: it => warnings.push(it) });
  none.add(told, '{}');
  await until(
    async () => warnings.length,
    count => count === 3,
  );
  t.match(warnings[2], /"\/nowhere\/nothing" could not be started \(.*ENOENT/);
});

t.test('one that hangs, and does not mind SIGTERM, is ended with all that it started', async t => {
  const script = `trap '' TERM; echo $$ >"$0/pids"; sleep 1000 & echo $! >>"$0/pids"; wait`;
  const { hook: made, warnings, file } = hook(t, script, { timeout: 300 });
  made.add(told, '{}');
  await until(
    async () => warnings.length,
    count => count === 1,
  );
  t.same(warnings, ['"sh" took longer than 0.3 s, and is ended, for: opened ssh for 192.0.2.7']);
  const pids = file('pids').trim().split('\n');
  t.equal(pids.length, 2);
  await until(
    async () => pids.some(isRunning),
    some => !some,
  );
  t.notOk(pids.some(isRunning));
});

t.test('a command that ends, and leaves others behind, counts until these have ended', async t => {
  const {
    hook: made,
    warnings,
    file,
    written,
  } = hook(t, 'sleep 1000 & echo $! >>"$0/pids"', { timeout: 500 });
  made.add(told, '{}');
  made.add(told, '{}');
  await written('pids', text => text.trim().split('\n').length === 2);
  const [first = '', second = ''] = file('pids').trim().split('\n');
  t.notOk(isRunning(first), 'only one at a time');
  await until(
    async () => isRunning(second),
    it => !it,
  );
  await made.close();
  t.equal(warnings.length, 2);
});

t.test(
  'a limited number run at the same time; a limited number wait, and the rest are reported as lost',
  async t => {
    const script = 'echo >>"$0/runs"; while [ ! -e "$0/go" ]; do sleep 0.05; done';
    const { hook: made, warnings, file, written } = hook(t, script, { atOnce: 3 });
    for (let event = 0; event < 1010; event++) made.add(told, '{}');
    await written('runs', text => text.length === 3);
    t.equal(file('runs').length, 3);
    t.match(warnings, ['events come faster than "sh" ends: some are lost']);
    await made.close();
    t.equal(file('runs').length, 3, 'ended, none begins');
    t.match(warnings.at(-1), 'lost 1007 events: no command ran for them');
  },
);
