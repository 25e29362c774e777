/** The knocks that confirm a trial: real packets of the author, and of others who know nothing of it. */
import { existsSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { patient, ssh, sshKnocks, status } from './loaded.ts';
import { candidate, enough, loaded, startTry, trying } from './trying.ts';
import { missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
t.jobs = 4;

const alice = [6001, 6003, 6005];
const bob = [6001, 6005, 6003];
const more = [4001, 4003, 4005];
const tcp = (ports: readonly number[]) => ports.map(port => `${port}/tcp` as const);
const web = { ports: [8080], sequence: [7001, 7003, 7005], ...patient };
const admin = { ports: [8443], sequences: { alice, bob }, ...patient };
const other = { ...ssh, sequence: [11000, 2345, 3456, 1234] };

/** A trial that `act` takes part in: what became of it. The author is in by ssh, from the host `client`. */
async function tried(
  t: Test,
  before: object,
  config: object,
  act: (world: World) => Promise<void>,
  from: 'ipv4' | 'ipv6' | 'nowhere' = 'ipv4',
): Promise<string> {
  const { world } = await loaded(t, before, { clients: ['client', 'other'] });
  for (const port of [8080, 8443, 2222]) await world.host('server').listen(port);
  const file = candidate(world, config);
  const login = from === 'nowhere' ? '' : `${world.client[from]} 40000 ${world.server[from]} 22`;
  const command = startTry(world, [file, '--for', await enough(world, 5)], { SSH_CONNECTION: login });
  await command.line(trying);
  await act(world);
  const { stdout } = await command.ended;
  const kept = JSON.stringify(JSON.parse(readFileSync(world.configFile, 'utf8'))) === JSON.stringify(config);
  t.equal(kept, stdout.startsWith('confirmed'), 'the file');
  t.equal(existsSync(file), !kept, 'the candidate');
  t.equal((await status(world)).inSync, true, 'the kernel');
  return stdout.replace(/;.*\n/s, '');
}

/** Knocks, and comes in. */
const visits =
  (
    host: string,
    knocks: readonly number[] | typeof sshKnocks,
    port: number,
    family: 'ipv4' | 'ipv6' = 'ipv4',
  ) =>
  async (world: World): Promise<void> => {
    const words = knocks.map(knock => (typeof knock === 'number' ? (`${knock}/tcp` as const) : knock));
    await world.host(host).knock(world.server[family], words);
    const answer = await world.host(host).connect(world.server[family], port);
    if (answer !== 'open') throw new Error(`${host} came to ${port}, which is ${answer}`);
  };

const UNDONE = 'undone: the former rules are back';
const confirmedBy = (what: string) => `confirmed by a knock: a client opened ${what} and came in`;

t.test("nobody's knock on a part that stayed confirms", { skip, buffered: true }, async t => {
  const all = { services: { ssh, web, admin } };
  const cases: readonly (readonly [string, object, (world: World) => Promise<void>])[] = [
    ['another service', { services: { ssh: other, web, admin } }, visits('other', web.sequence, 8080)],
    [
      'another user of the same service',
      { services: { ssh, web, admin: { ...admin, sequences: { alice: more, bob } } } },
      visits('other', bob, 8443),
    ],
    ['interfaces', { ...all, interfaces: ['eth*'] }, visits('other', sshKnocks, 22)],
    [
      "another service, by the author's own address",
      { services: { ssh: other, web, admin } },
      visits('client', web.sequence, 8080),
    ],
  ];
  await Promise.all(
    cases.map(([what, config, act]) =>
      t.test(what, async t => t.equal(await tried(t, all, config, act), UNDONE)),
    ),
  );
});

t.test(
  'a knock on a new service confirms, from any client, and names the user',
  { skip, buffered: true },
  async t => {
    const all = { services: { ssh, web, admin } };
    const changed = { services: { ssh, web, admin: { ...admin, sequences: { alice: more, bob } } } };
    t.equal(
      await tried(t, all, changed, visits('other', more, 8443), 'nowhere'),
      confirmedBy('admin as alice'),
    );
    const moved = { services: { ssh, admin, web: { ...web, ports: [2222] } } };
    t.equal(await tried(t, all, moved, visits('other', web.sequence, 2222), 'nowhere'), confirmedBy('web'));
  },
);

t.test("the author's own knock confirms any change", { skip, buffered: true }, async t => {
  const before = { services: { ssh, web } };
  const interfaces = { ...before, interfaces: ['eth*'] };
  t.equal(await tried(t, before, interfaces, visits('client', sshKnocks, 22)), confirmedBy('ssh'));
  const prefix = { ...before, prefix: { ipv6: 64 } };
  const knocks = visits('client', sshKnocks, 22, 'ipv6');
  t.equal(await tried(t, before, prefix, knocks, 'ipv6'), confirmedBy('ssh'));
});

t.test('the client that opens must be the one that comes in', { skip, buffered: true }, async t => {
  const before = { services: { ssh, admin } };
  const changed = { services: { ssh, admin: { ...admin, sequences: { alice: more, bob } } } };
  const inFromBefore = async (world: World): Promise<void> => {
    await world.host('client').knock(world.server.ipv4, tcp(more));
    await world.knockd(['grant', 'admin', '10.77.0.3']);
    t.equal(await world.host('other').connect(world.server.ipv4, 8443), 'open');
  };
  t.equal(await tried(t, before, changed, inFromBefore), UNDONE);
});

t.test(
  'an opening for single use confirms, though it is used up at once',
  { skip, buffered: true },
  async t => {
    const once = { ...ssh, singleUse: true };
    const act = visits('other', sshKnocks, 22);
    t.equal(
      await tried(t, { services: {} }, { services: { ssh: once } }, act, 'nowhere'),
      confirmedBy('ssh'),
    );
  },
);
