/** A load need not read a table that is as the load before made it. In any doubt it does. */
import t from 'tap';
import { ssh } from './loaded.ts';
import { built, needs, script } from './swapping.ts';
import { createWorld } from './world.ts';

t.test(
  'a table is known without reading it only while nothing but packets can have changed it',
  needs,
  async t => {
    const world = await createWorld(t);
    world.write({ services: { ssh } });
    t.equal((await world.knockd(['load'])).status, 0);
    const printed = await script(
      world,
      `
    import { spawnSync } from 'node:child_process';
    import { readConfig } from ${built('config/read.js')};
    import { withKernel } from ${built('host/access.js')};
    import { readGeneration } from ${built('nftables/transaction.js')};
    import { compile } from ${built('ruleset/compile.js')};
    import { readKernel, recallKernel } from ${built('table/read.js')};
    import { plan } from ${built('table/plan.js')};
    const { config } = readConfig(process.argv[1], process.env);
    const nft = script => spawnSync('nft', ['-f', '-'], { input: script });
    const answers = {};
    await withKernel(async ({ connection }) => {
      const known = async (what, of = config, generation) => {
        const at = generation ?? await readGeneration(connection);
        const kernel = await recallKernel(connection, { generation: at, ruleset: () => compile(of) });
        answers[what] = kernel !== undefined;
        return kernel;
      };
      const begun = await readGeneration(connection);
      const [recalled] = (await known('as loaded')).ours;
      const [read] = (await readKernel(connection)).ours;
      answers.same = plan(read, recalled).length + plan(recalled, read).length === 0;
      await known('of another configuration', { ...config, public: [{ protocol: 'tcp', first: 80, last: 80 }] });
      await known('of another name', { ...config, table: 'other' });
      nft('add table inet others');
      await known('after another program wrote', config, begun);
      await known('that generation');
      nft('add rule inet knockd input accept');
      await known('with a rule more');
      nft('flush chain inet knockd input');
      await known('without rules');
      nft('delete table inet knockd');
      await known('gone');
    });
    console.log(JSON.stringify(answers));`,
      [world.configFile],
    );
    t.same(JSON.parse(printed), {
      'as loaded': true,
      same: true,
      'of another configuration': false,
      'of another name': false,
      'after another program wrote': false,
      'that generation': true,
      'with a rule more': false,
      'without rules': false,
      gone: false,
    });
  },
);
