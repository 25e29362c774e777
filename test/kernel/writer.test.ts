/** A writer tells its own transactions from those of other programs. */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { ssh } from './loaded.ts';
import { built, needs, script } from './swapping.ts';
import { GOOD, token, tokens, tokenWorld } from './token-world.ts';
import { rules } from './trying.ts';
import { createWorld } from './world.ts';

const imports = `
  import { spawnSync } from 'node:child_process';
  import { parseConfig } from ${built('config/parse.js')};
  import { readConfig } from ${built('config/read.js')};
  import { apply } from ${built('feeder/apply.js')};
  import { withKernel } from ${built('host/access.js')};
  import { readGeneration } from ${built('nftables/transaction.js')};
  import { compile } from ${built('ruleset/compile.js')};
  import { load } from ${built('table/load.js')};
  import { grant } from ${built('table/openings.js')};
  import { Writer } from ${built('table/writer.js')};
  const [file] = process.argv.slice(1);
  const { config } = readConfig(file, process.env);`;

t.test('the generation of our own transactions is known until another program writes', needs, async t => {
  const world = await createWorld(t);
  world.write({ services: { ssh } });
  t.equal((await world.knockd(['load'])).status, 0);
  const source = `${imports}
    await withKernel(async ({ connection, sessions }) => {
      const begun = await readGeneration(connection);
      const writer = new Writer(connection, { generation: begun });
      const steps = [];
      const told = () => steps.push(writer.generation && writer.generation - begun);
      const letIn = (host, openFor = 60000) => grant(writer, () => ({ service: 'ssh', family: 'ipv4', key: Buffer.from([192, 0, 2, host]), openFor }));
      await letIn(1); told();
      await letIn(1, 30000); told();
      await letIn(2); told();
      spawnSync('nft', ['add', 'table', 'inet', 'others']);
      await letIn(3); told();
      await load(writer, compile(config), sessions); told();
      await letIn(4); told();
      console.log(JSON.stringify(steps));
    });`;
  t.same(JSON.parse(await script(world, source, [world.configFile])), [
    1, // a grant
    1, // she is in for longer already
    2,
    null, // another program added a table
    4, // a load compares all of our table
    5,
  ]);
});

t.test(
  'a load that takes a user away, who is in, ends at the generation that the kernel has then',
  needs,
  async t => {
    const world = await tokenWorld(t);
    await world.host('server').listen(22);
    await world.load();
    t.ok(await world.opens('client', token('alice', GOOD)));
    const { ssh } = tokens.services;
    writeFileSync(
      world.configFile,
      JSON.stringify({ services: { ssh: { ...ssh, tokens: { bob: ssh.tokens.bob } } } }),
    );
    const source = `${imports}
    Object.assign(process.env, ${JSON.stringify(world.env)});
    await withKernel(async access => {
      const { generation, feeding } = await apply(access, config, { env: process.env });
      console.log(JSON.stringify([feeding.is, generation - (await readGeneration(access.connection))]));
    });`;
    t.same(JSON.parse(await script(world, source, [world.configFile])), ['fed', 0]);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent', 'she is out');
  },
);

t.test(
  'nothing is committed once a writer may not: not the load, nor what comes after it',
  needs,
  async t => {
    const world = await tokenWorld(t);
    await world.loadFresh({ ...tokens, token: { hours: 1 } });
    const before = await rules(world);
    const source = `${imports}
    Object.assign(process.env, ${JSON.stringify(world.env)});
    const { tokens, ...plain } = config.services[0];
    const wanted = { ...config, policy: 'drop' };
    const attempt = async (config, may) => {
      const mayCommit = () => { if (may-- <= 0) throw new Error('no more'); };
      const told = error => error.name + ' ' + error.message;
      return withKernel(access => apply(access, config, { env: process.env, mayCommit })).then(({ feeding }) => feeding.is, told);
    };
    const args = process.argv.slice(2);
    console.log(JSON.stringify(await attempt(args[0] === 'none' ? { ...config, services: [] } : wanted, Number(args[1]))));`;
    const attempt = async (...args: string[]) =>
      JSON.parse(await script(world, source, [world.configFile, ...args]));
    t.equal(await attempt('none', '0'), 'Error no more', 'tokens are not taken out');
    t.equal(await attempt('drop', '0'), 'Error no more', 'a swap does not begin');
    t.equal(await rules(world), before);
    t.equal(await attempt('drop', '1'), 'HalfDoneError no more', 'nor does its next stage');
    t.equal(await attempt('drop', '99'), 'fed');
  },
);

for (const most of [1, 2])
  t.test(
    `a user who is removed is out, even if the load is stopped after ${most} of its transactions`,
    needs,
    async t => {
      const world = await tokenWorld(t);
      await world.loadFresh(tokens);
      await world.host('server').listen(22);
      t.ok(await world.opens('client', token('alice', GOOD)), 'the control');
      const { ssh } = tokens.services;
      const others = { services: { ssh: { ...ssh, tokens: { bob: ssh.tokens.bob } } } };
      writeFileSync(world.configFile, JSON.stringify(others));
      const source = `${imports}
    Object.assign(process.env, ${JSON.stringify(world.env)});
    let left = ${most};
    const mayCommit = () => { if (left-- <= 0) throw new Error('no more'); };
    await withKernel(access => apply(access, config, { env: process.env, mayCommit })).catch(() => {});
    console.log(left);`;
      t.equal((await script(world, source, [world.configFile])).trim(), '-1', 'it was stopped');
      t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
    },
  );
