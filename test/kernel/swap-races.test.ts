/** Loaders that meet others: a second loader, a killer, another program that writes all the time. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { load, ssh } from './loaded.ts';
import { base, echo, kept, needs, program } from './swapping.ts';
import { createWorld } from './world.ts';

t.test('two loaders at once both end well, and the table is one of the two', needs, async t => {
  const world = await createWorld(t);
  const configs = [base, { services: { ssh: { ...ssh, ports: [23] }, echo }, closed: 'reject' }];
  const files: string[] = [];
  const expected: string[] = [];
  for (const [index, config] of configs.entries()) {
    await load(world, config);
    expected.push(await program(world));
    files.push(await kept(world, config, index));
  }
  for (let round = 0; round < 20; round++) {
    if (round % 2) await world.nft('flush ruleset');
    const both = await Promise.all(files.map(config => world.knockd(['load'], { config })));
    t.same(
      both.map(({ status, stderr }) => `${status}${stderr}`),
      ['0', '0'],
      'both end with 0',
    );
    t.ok(expected.includes(await program(world)), 'one of the two');
  }
  for (let round = 0; round < 20; round++) {
    if (round % 2) await world.nft('flush ruleset');
    const both = await Promise.all([0, 1, 2].map(() => world.knockd(['load'], { config: files[0] ?? '' })));
    t.same(
      both.map(({ status }) => status),
      [0, 0, 0],
    );
    t.equal(await program(world), expected[0], 'the same file from three sides');
  }
});

t.test('a loader that is killed leaves the old ruleset or the new one', needs, async t => {
  const world = await createWorld(t);
  const many = (first: number) =>
    Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [
        `service${first + index}`,
        { ports: [2000 + first + index], sequence: [10000 + index, 20000 + index, 30000 + first + index] },
      ]),
    );
  const configs = [{ services: many(0) }, { services: many(100), closed: 'reject', policy: 'drop' }];
  const files: string[] = [];
  const expected: string[] = [];
  for (const [index, config] of configs.entries()) {
    await load(world, config);
    expected.push(await program(world, ['table', 'inet', 'knockd']));
    files.push(await kept(world, config, index));
  }
  let next = 0;
  const seen = { killed: 0, old: 0, new: 0 };
  // from no load at all to a whole one, however fast this machine is
  const begin = performance.now();
  await world.knockd(['load'], { config: files[0] ?? '' });
  const whole = performance.now() - begin;
  await world.knockd(['load'], { config: files[1] ?? '' });
  for (let round = 0; round < 60; round++) {
    const config = files[next] ?? '';
    const loader = world.start('server', process.execPath, [
      'dist/knockd-nft.cjs',
      '--config',
      config,
      'load',
    ]);
    await delay((whole * 1.2 * ((round * 37) % 60)) / 60);
    const { status } = await loader.stop('SIGKILL');
    if (status === 137) seen.killed++;
    const now = await program(world, ['table', 'inet', 'knockd']);
    t.ok(expected.includes(now), 'whole');
    if (now === expected[next]) {
      seen.new++;
      next = 1 - next;
    } else seen.old++;
  }
  t.comment(JSON.stringify(seen));
  t.ok(seen.killed > 0 && seen.old > 0, 'some were killed before they were done');
  t.equal((await world.knockd(['load'], { config: files[0] ?? '' })).status, 0, 'the next load is as ever');
  t.equal(await program(world, ['table', 'inet', 'knockd']), expected[0]);
});

t.test('another program that changes the ruleset all the time does not keep us from it', needs, async t => {
  const world = await createWorld(t);
  const services = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [
      `service${index}`,
      { ports: [2000 + index], sequence: [10000 + index, 20000 + index, 30000 + index] },
    ]),
  );
  const configs = [{ services }, { services, closed: 'reject' }];
  await load(world, configs[1] ?? {});
  const writer = world.start('server', 'sh', [
    '-c',
    `while :; do nft 'add table ip foreign; add chain ip foreign c; add rule ip foreign c accept'; nft delete table ip foreign; echo round; done`,
  ]);
  await writer.line(/round/);
  for (let round = 0; round < 10; round++) {
    world.write(configs[round % 2] ?? {});
    const { status, stderr } = await world.knockd(['load']);
    t.equal(`${status}${stderr}`, '0', 'load');
    const told = await world.knockd(['status', '--json']);
    t.equal(`${told.status}${told.stderr}`, '0', 'status');
    t.match(JSON.parse(told.stdout || '{}'), { inSync: true });
    const diff = await world.knockd(['diff']);
    t.equal(`${diff.status}${diff.stderr}`, '0', 'diff');
  }
  await writer.stop('SIGKILL');
});
