/** A trial sees a knock and its connection, however the client's packets fall between the trial's looks. */
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { load, serviceOf, ssh, sshKnocks, until } from '../kernel/loaded.ts';
import { HUNG } from '../kernel/process.ts';
import { built, needs, script } from '../kernel/swapping.ts';
import { createWorld } from '../kernel/world.ts';

t.test('a connection that begins while the trial looks for the knock confirms it', needs, async t => {
  const world = await createWorld(t);
  await load(world, { services: { ssh } });
  await world.host('server').listen(22);
  const file = (name: string) => join(dirname(world.configFile), name);
  const shown = script(
    world,
    `
    import { existsSync, writeFileSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    import { withKernel } from ${built('host/access.js')};
    import { readKernel } from ${built('table/read.js')};
    import { beginWitness, Witness } from ${built('trial/witness.js')};
    const meet = async (mine, theirs) => {
      writeFileSync(mine, '');
      while (!existsSync(theirs)) await setTimeout(5);
    };
    const [begun, knocked, looking, connected] = process.argv.slice(1);
    await withKernel(async ({ connection }) => {
      const [wanted] = (await readKernel(connection)).ours;
      const options = { changes: [], login: undefined, sessions: [] };
      const witness = new Witness(await beginWitness(connection, undefined, wanted, options));
      await meet(begun, knocked);
      const dump = connection.dump.bind(connection);
      connection.dump = async request => {
        if (request.subject.includes('connections')) await meet(looking, connected);
        return dump(request);
      };
      const first = await witness.look(connection);
      console.log(JSON.stringify(first ?? (await witness.look(connection)) ?? null));
    });`,
    ['begun', 'knocked', 'looking', 'connected'].map(file),
  );
  const client = world.host('client');
  await until(async () => existsSync(file('begun')), Boolean);
  await client.knock(world.server.ipv4, [...sshKnocks]);
  writeFileSync(file('knocked'), '');
  await until(async () => existsSync(file('looking')), Boolean);
  t.equal(await client.connect(world.server.ipv4, 22), 'open');
  writeFileSync(file('connected'), '');
  t.same(JSON.parse(await shown), { service: 'ssh', user: null });
});

/**
 * A client that is in by a knock from before the trial, another that was let in by hand, and a look at the trial of ssh. Its first
 * look covers all since the trial began.
 */
async function witnessed(t: Test, config: { readonly allow?: readonly string[] } = {}) {
  const world = await createWorld(t, { clients: ['client', 'other', 'guest'] });
  await load(world, { services: { ssh }, ...config });
  await world.host('server').listen(22);
  let opened = 0;
  const knock = async (host: string) => {
    await world.host(host).knock(world.server.ipv4, [...sshKnocks]);
    opened++;
    await until(
      () => serviceOf(world, 'ssh'),
      service => service.opened === opened,
    );
  };
  const comesIn = async (host: string) =>
    t.equal(await world.host(host).connect(world.server.ipv4, 22, { timeout: HUNG }), 'open');
  await knock('client');
  await world.knockd(['grant', 'ssh', world.addresses('other').ipv4]);
  const source = `
    import { withKernel } from ${built('host/access.js')};
    import { readKernel } from ${built('table/read.js')};
    import { beginWitness, Witness } from ${built('trial/witness.js')};
    await withKernel(async ({ connection }) => {
      const [wanted] = (await readKernel(connection)).ours;
      const options = { changes: [], login: undefined, sessions: [] };
      const witness = new Witness(await beginWitness(connection, undefined, wanted, options));
      process.on('SIGUSR2', async () => {
        console.log('saw ' + JSON.stringify((await witness.look(connection)) ?? null));
      });
      console.log('begun');
      await new Promise(() => setInterval(() => {}, 60_000));
    });`;
  const witness = world.start('server', process.execPath, ['--input-type=module', '-e', source]);
  await witness.line(/^begun/);
  const look = async (): Promise<unknown> => {
    witness.signal('SIGUSR2');
    return JSON.parse((await witness.line(/^saw /)).slice('saw '.length));
  };
  return {
    world,
    knock,
    open: (host: string) => world.host(host).open(world.server.ipv4, 22),
    comesIn,
    look,
    /** Comes in again and again until that proves the trial, and says what the look then saw. */
    comesBack: (host: string) =>
      until(async () => {
        await comesIn(host);
        return await look();
      }, Boolean),
  };
}

const shown = { service: 'ssh', user: null };

t.test('an old connection proves nothing if another client comes in between the looks', needs, async t => {
  const { open, knock, comesIn, comesBack, look } = await witnessed(t);
  await open('client');
  t.equal(await look(), null);
  await knock('client');
  await comesIn('other');
  t.equal(await look(), null, 'when the knock is first seen');
  t.equal(await look(), null, 'nor later');
  t.same(await comesBack('client'), shown, 'a new connection proves the trial');
});

t.test('an old connection proves nothing if its client knocks between the looks', needs, async t => {
  const { open, knock, comesBack, look } = await witnessed(t);
  await open('client');
  await knock('client');
  t.equal(await look(), null);
  t.same(await comesBack('client'), shown);
});

t.test('an old connection proves nothing though it has ended', needs, async t => {
  const { comesIn, knock, comesBack, look } = await witnessed(t);
  await comesIn('client');
  await knock('client');
  t.equal(await look(), null);
  t.same(await comesBack('client'), shown);
});

t.test(
  'a client that was in proves the trial by a connection after its knock, though no look came between',
  needs,
  async t => {
    const { open, knock, look } = await witnessed(t);
    await open('client');
    await knock('client');
    await open('client');
    t.same(await until(look, Boolean), shown);
  },
);

t.test('an old connection proves nothing if it was let in by hand during the trial', needs, async t => {
  const { world, open, knock, comesIn, comesBack, look } = await witnessed(t);
  const { ipv4 } = world.addresses('guest');
  await world.knockd(['grant', 'ssh', ipv4]);
  await open('guest');
  await knock('client');
  t.equal(await look(), null);
  await world.knockd(['revoke', 'ssh', ipv4]);
  await knock('guest');
  await comesIn('other');
  t.equal(await look(), null);
  t.same(await comesBack('guest'), shown);
});

t.test('a connection that "allow" lets in proves nothing, though its client knocked', needs, async t => {
  const { open, knock, comesIn, comesBack, look } = await witnessed(t, { allow: ['10.77.0.4'] });
  await knock('guest');
  await open('guest');
  await comesIn('other');
  t.equal(await look(), null, 'when the knock is first seen');
  await open('guest');
  t.equal(await look(), null, 'nor later');
  await knock('client');
  t.same(await comesBack('client'), shown);
});
