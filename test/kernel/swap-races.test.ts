/** Loaders that meet others: a second loader, a killer, another program that writes all the time. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { load, ssh } from './loaded.ts';
import { base, built, echo, kept, needs, program, script } from './swapping.ts';
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
  const configs = [{ services: many(0) }, { services: many(100), closed: 'reject' }];
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

/** Ends before its transaction of that number, from 0. */
const dyingScript = `
  import { readConfig } from ${built('config/read.js')};
  import { compile } from ${built('ruleset/compile.js')};
  import { withKernel } from ${built('host/access.js')};
  import { load } from ${built('table/load.js')};
  import { Writer } from ${built('table/writer.js')};
  const [file, last] = process.argv.slice(1);
  const wanted = compile(readConfig(file, {}).config);

  let committed = 0;
  const mayCommit = () => { if (committed++ === Number(last)) process.exit(); };
  await withKernel(({ connection, sessions }) => load(new Writer(connection, { mayCommit }), wanted, sessions));
  console.log('done');`;

t.test(
  'a loader that dies between two transactions leaves a guard, and the next one goes on',
  needs,
  async t => {
    const world = await createWorld(t, { clients: ['client', 'stranger'] });
    for (const port of [22, 23, 24]) await world.host('server').listen(port);
    const once = { ports: [23], sequence: [6001, 6003, 6005], singleUse: true };
    const services = { ...base.services, once };
    const other = { ports: [24], sequence: [7001, 7003, 7005] };
    const configs = [
      { services },
      { services: { ...services, other }, policy: 'drop' },
      { services, hook: 'prerouting', priority: 5, policy: 'drop' },
      { services, table: 'door' },
    ];
    const files: string[] = [];
    for (const [index, config] of configs.entries()) files.push(await kept(world, config, index));
    const client = world.host('client');
    const { ipv4 } = world.server;
    const died: string[] = [];
    const guards = async () => {
      t.equal(await client.connect(ipv4, 22), 'open');
      for (const port of [22, 23])
        t.equal(await world.host('stranger').connect(ipv4, port, { timeout: 100 }), 'silent');
    };
    for (const [from, to] of [
      [0, 1],
      [1, 2],
      [2, 0],
      [0, 3],
      [3, 2],
    ] as const)
      for (let number = 1; ; number++) {
        await world.nft('flush ruleset');
        await world.knockd(['load'], { config: files[from] ?? '' });
        const table = from === 3 ? 'door' : 'knockd';
        const admit = (service: string) =>
          `add element inet ${table} ${service}_clients_ipv4 { ${world.client.ipv4} }`;
        await world.nft(admit('ssh'));
        const done = await script(world, dyingScript, [files[to] ?? '', String(number)]);
        await guards();
        if (done !== '') break;
        died.push(`${from} to ${to}, ${number}`);
        if (from !== 3 && to !== 3) {
          await world.nft(admit('once'));
          t.equal(await client.connect(ipv4, 23), 'open', 'an opening for one connection is there for it');
          t.equal(await client.connect(ipv4, 23, { timeout: 100 }), 'silent', 'and for no other');
        }
        t.equal((await world.knockd(['load'], { config: files[to] ?? '' })).status, 0);
        t.equal(
          (await world.knockd(['diff'], { config: files[to] ?? '' })).status,
          0,
          'what was begun is done',
        );
        await guards();
      }
    t.comment(died.join('; '));
    t.ok(died.length >= 8, 'it died in many places');
  },
);

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

t.test(
  'a transaction returns the generation that it made; a chain that is sent again makes one',
  needs,
  async t => {
    const world = await createWorld(t);
    const source = `
    import { Connection } from ${built('netlink/connection.js')};
    import { commit, readGeneration } from ${built('nftables/transaction.js')};
    import { NETLINK_NETFILTER, openSocket } from ${built('netlink/socket.js')};
    import { newChain } from ${built('nftables/chain.js')};
    import { deleteTable, newTable } from ${built('nftables/table.js')};
    const connection = new Connection(openSocket(NETLINK_NETFILTER));
    const table = newTable({ name: 'generations', comment: undefined });
    const chain = newChain('generations', { name: 'token' });
    const before = await readGeneration(connection);
    const steps = [];
    for (const message of [table, table, chain, chain, deleteTable('generations')]) {
      const generation = await readGeneration(connection);
      const made = await commit(connection, [message], { generation });
      steps.push([made.generation - before, (await readGeneration(connection)) - before]);
    }
    console.log(JSON.stringify(steps));
    connection.close();`;
    t.same(
      JSON.parse(await script(world, source)),
      [1, 1, 2, 3, 4].map(made => [made, made]),
    );
  },
);
