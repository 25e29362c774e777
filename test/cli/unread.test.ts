/** Output that nobody reads keeps no command from its work, and its exit status stays true. */
import t, { type Test } from 'tap';
import { load, ssh, status } from '../kernel/loaded.ts';
import type { Result } from '../kernel/process.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
const weak = { services: { ssh: { ...ssh, sequence: [10000, 2345] } } };

/** Runs a command with its stdout, and with `2>&1` its stderr, in a pipe whose reader is gone. */
function unread(world: World, words: string): Promise<Result> {
  const program = `"${process.execPath}" dist/knockd-nft.cjs --config "${world.configFile}"`;
  const goneReader = 'trap "" PIPE; while echo; do :; done 2>/dev/null';
  return world.run('server', 'bash', [
    '-c',
    `exec 3>&1; { ${goneReader}; ${program} ${words}; echo $? >&3; } | true`,
  ]);
}

/** A world whose file has a warning, of which `load` tells before it loads. */
async function warned(t: Test): Promise<World> {
  const world = await createWorld(t);
  world.write(weak);
  return world;
}

t.test('load loads, though nobody reads its warnings', { skip }, async t => {
  for (const to of ['2>&1', '2>/dev/full']) {
    const world = await warned(t);
    t.equal((await unread(world, `load ${to}`)).stdout, '0\n', to);
    t.match(await status(world), { loaded: true, inSync: true }, to);
  }
});

t.test('try says that it was undone, though nobody reads that', { skip }, async t => {
  const world = await warned(t);
  t.equal((await unread(world, 'try --for 1s 2>&1')).stdout, '1\n');
  t.match(await status(world), { loaded: false });
});

t.test('diff says that something would change, though nobody reads what', { skip }, async t => {
  const world = await warned(t);
  t.equal((await unread(world, 'diff 2>&1')).stdout, '1\n');
  await load(world, weak);
  t.equal((await unread(world, 'diff 2>&1')).stdout, '0\n');
});

t.test('watch ends when nobody reads on', { skip }, async t => {
  const world = await createWorld(t);
  await load(world, { services: { ssh } });
  t.equal((await unread(world, 'watch --interval 100ms')).stdout, '0\n');
});

t.test('a result that does not fit on the disk is a failure', { skip }, async t => {
  const world = await warned(t);
  const full = (words: string) =>
    world.run('server', 'bash', [
      '-c',
      `"${process.execPath}" dist/knockd-nft.cjs --config "${world.configFile}" ${words} >/dev/full`,
    ]);
  t.match(await full('load'), { status: 1, stderr: /^knockd-nft: cannot write \(ENOSPC\)$/m });
  t.match(await status(world), { inSync: true }, 'and yet it is loaded');
  t.match(await full('diff --json'), { status: 2 });
});
