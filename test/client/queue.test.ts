/** The queue of real processes that knock. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { isQueue, takeTurn } from '../../src/client/queue.ts';
import { until } from '../kernel/loaded.ts';

/** Takes a turn at the addresses that are its words, says so, and ends it when its stdin ends. */
const queuer = `import { takeTurn } from ${JSON.stringify(fileURLToPath(new URL('../../src/client/queue.js', import.meta.url)))};
const turn = await takeTurn({ folder: process.env.FOLDER, keys: process.argv.slice(1) }, new AbortController().signal, () => console.log('waits'));
console.log('has it');
for await (const _ of process.stdin);
turn.end();
console.log('ended');`;

function emptyFolder(t: Pick<Test, 'teardown'>) {
  const parent = mkdtempSync(join(tmpdir(), 'knockd-nft-queue-'));
  t.teardown(() => rmSync(parent, { recursive: true, force: true }));
  return join(parent, 'knockd-nft');
}

/** A process that takes a turn; `line` resolves with the next thing that it says. */
function other(
  t: Pick<Test, 'teardown'>,
  FOLDER: string,
  addresses: readonly string[],
  script = queuer,
  before: readonly string[] = [],
) {
  const command = [...before, process.execPath, '--input-type=module', '-e', script, ...addresses];
  const child = spawn('env', command, {
    env: { ...process.env, FOLDER },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => void child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => (await lines.next()).value, ended: once(child, 'close') };
}

const patient = () => new AbortController().signal;

t.test('one has the turn, the next one waits for its end', async t => {
  const folder = emptyFolder(t);
  t.equal(isQueue({ folder, keys: ['10.77.0.1'] }), false);
  t.notOk(existsSync(folder), 'who only asks leaves nothing');
  const first = other(t, folder, ['10.77.0.1']);
  t.equal(await first.line(), 'has it');
  t.equal(isQueue({ folder, keys: ['10.77.0.1'] }), true);
  t.equal(isQueue({ folder, keys: ['fd77::1'] }), false);
  t.equal(statSync(folder).mode & 0o777, 0o700);
  const second = other(t, folder, ['10.77.0.1', 'fd77::1']);
  t.equal(await second.line(), 'waits');
  first.child.stdin.end();
  t.equal(await second.line(), 'has it');
  t.equal(await first.line(), 'ended');
  second.child.stdin.end();
  await second.ended;
  t.same(readdirSync(folder), [], 'nothing stays');
});

t.test('a process that knocks on other addresses does not wait', async t => {
  const folder = emptyFolder(t);
  const first = other(t, folder, ['10.77.0.1']);
  t.equal(await first.line(), 'has it');
  const turn = await takeTurn({ folder, keys: ['10.77.0.2'] }, patient(), () => t.fail('it waits'));
  t.equal(turn.waited, false);
  turn.end();
});

for (const signal of ['SIGKILL', 'SIGSTOP'] as const)
  t.test(`a process after ${signal} keeps nobody waiting`, async t => {
    const folder = emptyFolder(t);
    const first = other(t, folder, ['10.77.0.1']);
    t.equal(await first.line(), 'has it');
    const second = other(t, folder, ['10.77.0.1']);
    t.equal(await second.line(), 'waits');
    first.child.kill(signal);
    t.equal(await second.line(), 'has it');
  });

t.test('a process that has the id of a dead one is not taken for it', async t => {
  const folder = emptyFolder(t);
  (await takeTurn({ folder, keys: ['10.77.0.1'] }, patient(), () => {})).end();
  writeFileSync(join(folder, `10.77.0.1-1-${process.ppid}-1`), ''); // it lives, but began later than that
  writeFileSync(join(folder, 'a file of somebody else'), '');
  const turn = await takeTurn({ folder, keys: ['10.77.0.1'] }, patient(), () => t.fail('it waits'));
  turn.end();
  t.same(readdirSync(folder), ['a file of somebody else']);
});

const isRoot = process.getuid?.() === 0;

/** As an ordinary user, behind a place with the id of the first process, which is root's, and that start. */
function behindRoot(
  t: Pick<Test, 'teardown'>,
  start: string,
  owner: 'root' | 'the user',
  before: readonly string[] = [],
) {
  const folder = emptyFolder(t);
  const nobody = 65534;
  mkdirSync(folder);
  const place = join(folder, `10.77.0.1-1-1-${start}`);
  writeFileSync(place, '');
  if (isRoot) for (const path of [dirname(folder), folder]) chownSync(path, nobody, nobody);
  if (isRoot && owner === 'the user') chownSync(place, nobody, nobody);
  const script = queuer.replace(
    'const turn',
    `if (${isRoot}) for (const set of [process.setgid, process.setuid]) set(${nobody});
const turn`,
  );
  return other(t, folder, ['10.77.0.1'], script, before);
}

t.test('nor if that process is of another user, as after a crash and a boot', async t => {
  for (const owner of ['root', 'the user'] as const)
    t.equal(await behindRoot(t, '123456789', owner).line(), 'has it');
});

const HIDDEN = ['unshare', '-m', 'sh', '-c', 'mount -t proc -o hidepid=2 proc /proc && exec "$0" "$@"'];
const cannotHide = { skip: !isRoot && 'only root can hide processes' };
t.test(
  'where /proc hides the processes of others, those that made their place may be alive',
  cannotHide,
  async t => {
    t.equal(await behindRoot(t, '123456789', 'root', HIDDEN).line(), 'waits');
  },
);

t.test(
  'where /proc hides them, none of them is taken for a dead process of the user',
  cannotHide,
  async t => {
    t.equal(await behindRoot(t, '123456789', 'the user', HIDDEN).line(), 'has it');
  },
);

t.test('a signal ends the waiting, and leaves nothing', async t => {
  const folder = emptyFolder(t);
  const first = other(t, folder, ['10.77.0.1']);
  await first.line();
  const over = new AbortController();
  await t.rejects(
    takeTurn({ folder, keys: ['10.77.0.1', 'fd77::1'] }, over.signal, () => over.abort()),
    { name: 'AbortError' },
  );
  t.equal(readdirSync(folder).length, 1);
});

t.test('if nothing can be written, nobody waits', async t => {
  const folder = emptyFolder(t);
  writeFileSync(folder, ''); // not even root makes a folder of that
  chmodSync(folder, 0o400);
  t.equal(isQueue({ folder, keys: ['10.77.0.1'] }), false);
  const turn = await takeTurn({ folder, keys: ['10.77.0.1'] }, patient(), () => t.fail('it waits'));
  turn.end();
});

t.test('if many come at once, one at a time has the turn, in the order in which they came', async t => {
  const folder = emptyFolder(t);
  const rounds = 30;
  // each writes what it sees into a file of its own turn: two at once would find each other's
  const script = `${queuer.split('\n')[0]}
import { rmSync, writeFileSync } from 'node:fs';
for (let round = 0; round < ${rounds}; round++) {
  const turn = await takeTurn({ folder: process.env.FOLDER, keys: ['10.77.0.1'] }, new AbortController().signal, () => {});
  const mark = process.env.FOLDER + '/mark';
  writeFileSync(mark, '', { flag: 'wx' });
  rmSync(mark);
  turn.end();
}`;
  const all = Array.from({ length: 8 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, FOLDER: folder },
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  );
  const statuses = await Promise.all(all.map(async child => (await once(child, 'close'))[0]));
  t.same(
    statuses,
    all.map(() => 0),
  );
  await until(
    async () => isQueue({ folder, keys: ['10.77.0.1'] }),
    queue => !queue,
  );
});
