/** `grant` and `revoke`: letting in and taking back by hand, as packets and nft see it. */
import { chmodSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { families, load, loadedWorld, patient, serviceOf, ssh, sshKnocks, status, until } from './loaded.ts';
import type { Result } from './process.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };
const admin = {
  ports: [8443],
  sequences: { alice: [7001, 7003, 7005], bob: [7001, 7004, 7006] },
  ...patient,
} as const;
const aliceKnocks = ['7001/tcp', '7003/tcp', '7005/tcp'];
const bobKnocks = ['7001/tcp', '7004/tcp', '7006/tcp'];
const both = { services: { ssh, admin } };
const clients = ['client', 'other'];
const goesOn = 'running connections go on (--cut ends them)';

/** Runs a command that has to succeed without a message, and gives its output. */
async function says(t: Test, world: World, ...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await world.knockd(words);
  t.same({ status, stderr }, { status: 0, stderr: '' }, words.join(' '));
  return stdout.trimEnd();
}

async function json(t: Test, world: World, ...words: readonly string[]): Promise<unknown> {
  return JSON.parse(await says(t, world, ...words, '--json'));
}

function failsWith(t: Test, result: Result, status: number, message: RegExp): void {
  t.equal(result.status, status, String(message));
  t.equal(result.stdout, '');
  t.match(result.stderr, message);
  t.equal(result.stderr.trimEnd().split('\n').length, 1, 'one line');
}

t.test('a grant lets in a client that never knocked, and nobody else, and runs out', needs, async t => {
  const world = await loadedWorld(t, both, { clients });
  await world.host('server').listen(22);
  for (const family of families) {
    const [to, from] = [world.server[family], world.client[family]];
    t.equal(await world.host('client').connect(to, 22), 'silent');
    t.equal(await says(t, world, 'grant', 'ssh', from, '--for', '2s'), `granted ssh to ${from} for 2s`);
    t.equal(await world.host('client').connect(to, 22), 'open', family);
    t.equal(await world.host('other').connect(to, 22), 'silent', 'somebody else');
    await until(
      () => serviceOf(world, 'ssh'),
      service => service.clients.length === 0,
    );
    t.equal(await world.host('client').connect(to, 22), 'silent', 'it ran out');
  }
  t.same(
    await serviceOf(world, 'ssh'),
    { clients: [], opened: 0, accepted: 2, refused: 6 },
    'no knock was counted',
  );
});

t.test('the default is openFor of the table that is loaded, whatever the file says', needs, async t => {
  const world = await loadedWorld(t, both);
  world.write('{ "services": 7 ');
  t.equal(await says(t, world, 'grant', 'ssh', '192.0.2.7'), 'granted ssh to 192.0.2.7 for 5m');
  const { stdout } = await world.knockd(['grant', 'ssh', '2001:db8::7', '--json'], {
    config: '/no/such/file',
  });
  t.same(JSON.parse(stdout), {
    event: 'granted',
    service: 'ssh',
    client: '2001:db8::7',
    openFor: 300,
    expires: 300,
  });
  chmodSync(world.configFile, 0o666);
  t.equal(await says(t, world, 'revoke', 'ssh', '192.0.2.7'), `revoked ssh from 192.0.2.7; ${goesOn}`);
});

t.test('nft shows grants, and its listing loads again', needs, async t => {
  const world = await loadedWorld(t, both);
  await says(t, world, 'grant', 'ssh', world.client.ipv4, '--for', '90');
  await says(t, world, 'grant', 'admin', world.client.ipv6, '--for', '1h30m');
  const listing = await world.list();
  t.match(listing, /10\.77\.0\.2 timeout 1m30s expires 1m\d+s\d*(ms)? comment "granted"/);
  t.match(listing, /fd77::2 timeout 1h30m expires 1h29m\d+s\d*(ms)? comment "granted"/);
  const again = await world.run('server', 'nft', ['-c', '-f', '-'], { input: listing });
  t.same(again, { status: 0, stdout: '', stderr: '' });
  t.equal((await world.knockd(['diff'])).status, 0, 'a grant is no difference to the file');
});

t.test('if a network is one client, an address stands for it', needs, async t => {
  const world = await loadedWorld(t, { ...both, prefix: { ipv4: 24, ipv6: 64 } }, { clients });
  await world.host('server').listen(22);
  for (const [address, network] of [
    [world.client.ipv4, '10.77.0.0/24'],
    [world.client.ipv6, 'fd77::/64'],
  ] as const) {
    const to = address.includes(':') ? world.server.ipv6 : world.server.ipv4;
    t.equal(await says(t, world, 'grant', 'ssh', address), `granted ssh to ${network} for 5m`);
    t.equal(await world.host('other').connect(to, 22), 'open', 'its neighbour is the same client');
    t.equal(await says(t, world, 'revoke', network), `revoked ssh from ${network}; ${goesOn}`);
    t.equal(await world.host('other').connect(to, 22), 'silent');
    t.equal(await says(t, world, 'grant', 'ssh', network), `granted ssh to ${network} for 5m`);
  }
  failsWith(
    t,
    await world.knockd(['grant', 'ssh', '10.77.0.0/16']),
    64,
    /"10\.77\.0\.0\/16" is not one client, which is a \/24 here: .*"allow" in the configuration/,
  );
  failsWith(
    t,
    await world.knockd(['revoke', 'fd77::/48']),
    64,
    /"fd77::\/48" is not one client, which is a \/64 here: .*--all/,
  );
});

t.test('a client that was let in when less was one client is taken back with the network', needs, async t => {
  const world = await loadedWorld(t, both);
  await world.host('server').listen(22);
  const { ipv4 } = world.client;
  await says(t, world, 'grant', 'ssh', ipv4);
  await load(world, { ...both, prefix: { ipv4: 24 } });
  t.equal(await says(t, world, 'revoke', ipv4), `revoked ssh from 10.77.0.0/24; ${goesOn}`);
  await load(world, both);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent', 'and does not come back');
});

t.test('words that nobody can mean are 64, and nothing happens', needs, async t => {
  const world = await loadedWorld(t, both);
  const before = await world.list();
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [
      ['grant', 'ssh', '192.0.2.0/24'],
      /"192\.0\.2\.0\/24" is not one client, which is a single address here/,
    ],
    [['grant', 'ssh', '192.0.2.7/33'], /wrong length/],
    [['grant', 'ssh', '192.0.2.7/24'], /host bits/],
    [['grant', 'ssh', '::ffff:192.0.2.7'], /IPv4-mapped address: expected IPv4: "192\.0\.2\.7"/],
    [['grant', 'ssh', 'fe80::1%eth0'], /has a zone/],
    [['grant', 'ssh', 'localhost'], /"localhost" is no address/],
    [['grant', 'ssh', '0.0.0.0'], /0\.0\.0\.0 is no host's address: name one client/],
    [['grant', 'ssh', '::'], /:: is no host's address/],
    [['grant', 'ssh', '255.255.255.255'], /255\.255\.255\.255 is no host's address/],
    [['grant', 'ssh', 'ff02::1'], /ff02::1 is no host's address/],
    [['grant', 'ssh', '192.0.2.07'], /without leading zeros/],
    [['grant', 'ssh', ''], /"" is no address/],
    [['grant', 'ssh', '\u001b[31m'], /"\\u001b\[31m" is no address/],
    [['grant', 'shh', '192.0.2.7'], /no service "shh" .* the nearest is "ssh", of admin, ssh/],
    [
      ['grant', '192.0.2.7', 'ssh'],
      /"192\.0\.2\.7" is no service; a service comes before the address: admin, ssh/,
    ],
    [['grant', 'ssh', '192.0.2.7', '--for', '0'], /--for 0 is too short/],
    [['grant', 'ssh', '192.0.2.7', '--for', '400d'], /--for 400d is too long/],
    [['grant', 'ssh', '192.0.2.7', '--for', 'ever'], /--for ever is no duration: expected .*"1m30s"/],
    [['grant', 'ssh', '192.0.2.7', '--for', '-5'], /--for -5 is no duration/],
    [['revoke'], /name a client: an address, a user, or --all/],
    [['revoke', 'ssh'], /name a client: knockd-nft revoke ssh ADDRESS, or knockd-nft revoke ssh --all/],
    [['revoke', 'ssh', 'alice'], /"alice" is neither an address nor a user: no sequence has a user there/],
    [['revoke', 'admin', 'alcie'], /"alcie" is neither an address nor a user: the nearest user is "alice"/],
    [['revoke', 'nobody'], /"nobody" is neither an address nor a user: the nearest user is "bob"/],
    [['revoke', 'shh', '192.0.2.7'], /no service "shh" .* the nearest is "ssh"/],
    [['revoke', 'shh', '--all'], /no service "shh"/],
    [['revoke', '192.0.2.7', 'ssh'], /"192\.0\.2\.7" is no service; a service comes before/],
    [['revoke', '192.0.2.7', '--all'], /--all means every client/],
    [['revoke', 'ssh', '192.0.2.7', '--all'], /--all means every client: leave out either/],
  ];
  for (const [words, message] of cases) failsWith(t, await world.knockd(words), 64, message);
  for (const words of [['grant'], ['grant', 'ssh'], ['grant', 'a', 'b', 'c'], ['revoke', 'a', 'b', 'c']])
    t.equal((await world.knockd(words)).status, 64, words.join(' '));
  t.equal(await world.list(), before);
});

t.test('if nothing is loaded, both say what to do first', needs, async t => {
  const world = await createWorld(t);
  world.write(both);
  for (const words of [
    ['grant', 'ssh', '192.0.2.7'],
    ['revoke', '192.0.2.7'],
    ['revoke', '--all'],
  ])
    failsWith(t, await world.knockd(words), 1, /nothing is loaded.*"knockd-nft load" first/);
  await load(world, { services: {} });
  failsWith(t, await world.knockd(['grant', 'ssh', '192.0.2.7']), 64, /no service "ssh".*guards nothing/);
  t.equal(await says(t, world, 'revoke', '--all'), `no client was in; ${goesOn}`);
  await load(world, both);
  await world.nft('flush chain inet knockd guard_ssh; delete chain inet knockd open_ssh').catch(() => {});
  await world.nft(`flush ruleset
table inet knockd {
  comment "knockd-nft"
  chain guard_ssh { }
  map ports { type inet_proto . inet_service : verdict; elements = { tcp . 22 : goto guard_ssh } }
}`);
  failsWith(t, await world.knockd(['grant', 'ssh', '192.0.2.7']), 64, /does not say for how long: add --for/);
  failsWith(
    t,
    await world.knockd(['grant', 'ssh', '192.0.2.7', '--for', '1m']),
    1,
    /another program removed set ssh_clients_ipv4: "knockd-nft load" puts it back/,
  );
  t.match(await says(t, world, 'revoke', 'ssh', '192.0.2.7'), /192\.0\.2\.7 was not let in to ssh/);
});

t.test('a grant gives time, and never takes it away', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, openFor: '1m' } } });
  const { ipv4 } = world.client;
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  t.match(
    await says(t, world, 'grant', 'ssh', ipv4, '--for', '1h'),
    /^granted ssh to 10\.77\.0\.2 for 1h \(it had (1m|\d+s) left\)$/,
  );
  t.match(
    await says(t, world, 'grant', 'ssh', ipv4, '--for', '10s'),
    /^unchanged: ssh is open to 10\.77\.0\.2 for (1h|59m\d+s) already$/,
  );
  const left = async () => (await status(world)).services.ssh?.clients[0]?.expires ?? 0;
  t.ok((await left()) > 3500, 'the hour');
  t.match(await json(t, world, 'grant', 'ssh', ipv4), { event: 'unchanged', openFor: 60 });
  await world.nft('add element inet knockd ssh_clients_ipv4 { 192.0.2.9 }');
  t.equal(
    await says(t, world, 'grant', 'ssh', '192.0.2.9'),
    'unchanged: ssh is open to 192.0.2.9 for good already',
  );
  t.match(await json(t, world, 'grant', 'ssh', '192.0.2.9'), { event: 'unchanged', expires: null });
  // as documented: the kernel gives who knocks what a knock is worth
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  t.ok((await until(left, seconds => seconds < 3500)) <= 60, 'a knock sets the time left to openFor');
});

t.test('a grant to a service with users has no user, and leaves none behind', needs, async t => {
  const world = await loadedWorld(t, both);
  await world.host('client').knock(world.server.ipv4, aliceKnocks);
  t.same((await serviceOf(world, 'admin')).clients, ['10.77.0.2 alice']);
  t.match(await says(t, world, 'grant', 'admin', '10.77.0.2', '--for', '10s'), /^unchanged/);
  t.same(
    (await serviceOf(world, 'admin')).clients,
    ['10.77.0.2 alice'],
    'who is in for longer stays who he is',
  );
  await says(t, world, 'grant', 'admin', '10.77.0.2', '--for', '1h');
  t.same((await serviceOf(world, 'admin')).clients, ['10.77.0.2']);
  await world.host('client').knock(world.server.ipv4, bobKnocks);
  t.same((await serviceOf(world, 'admin')).clients, ['10.77.0.2 bob'], 'and knocking names him again');
});

t.test('a grant for single use is used up by one connection', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh: { ...ssh, singleUse: true } } });
  await world.host('server').listen(22);
  for (const family of families) {
    t.match(await says(t, world, 'grant', 'ssh', world.client[family]), /for 5m, for one connection$/);
    t.equal(await world.host('client').connect(world.server[family], 22), 'open');
    t.equal(await world.host('client').connect(world.server[family], 22), 'silent');
  }
});

t.test('revoking closes the door, service by service, and lets connections go on', needs, async t => {
  const world = await loadedWorld(t, both, { clients });
  const [client, other] = [world.host('client'), world.host('other')];
  for (const port of [22, 8443]) await world.host('server').listen(port);
  for (const family of families) {
    const [to, from] = [world.server[family], world.client[family]];
    await client.knock(to, sshKnocks);
    await client.knock(to, aliceKnocks);
    await other.knock(to, sshKnocks);
    const session = await client.open(to, 22);
    t.equal(await says(t, world, 'revoke', 'ssh', from), `revoked ssh from ${from}; ${goesOn}`);
    t.equal(await client.connect(to, 22), 'silent');
    t.equal(await client.connect(to, 8443), 'open', 'the other service');
    t.equal(await other.connect(to, 22), 'open', 'the other client');
    t.equal(await session.send('still here'), 'alive', 'the connection');
    t.equal(await says(t, world, 'revoke', from), `revoked admin from ${from} (alice); ${goesOn}`);
    t.equal(await client.connect(to, 8443), 'silent');
    t.equal(await says(t, world, 'revoke', from), `${from} was not in; ${goesOn}`);
    t.equal(await says(t, world, 'revoke', 'ssh', from), `${from} was not let in to ssh; ${goesOn}`);
    t.equal(await session.send('and still'), 'alive');
    await client.knock(to, sshKnocks);
    t.equal(await client.connect(to, 22), 'open', 'who knows the sequence may come again');
    await says(t, world, 'revoke', from);
  }
  t.notMatch(await world.list(), /_users_ipv[46] \{[^}]*elements = /, 'nor is a user left');
});

t.test('everybody of one service, everybody of all', needs, async t => {
  const world = await loadedWorld(t, both);
  const fill = () =>
    world.nft(`add element inet knockd ssh_clients_ipv4 { 192.0.2.1 timeout 1m, 192.0.2.2 }
add element inet knockd ssh_clients_ipv6 { 2001:db8::1 timeout 1m }
add element inet knockd admin_clients_ipv6 { 2001:db8::2 timeout 1m }`);
  await fill();
  await world.host('client').knock(world.server.ipv4, bobKnocks);
  t.same((await says(t, world, 'revoke', 'ssh', '--all')).split('\n').sort(), [
    'revoked ssh from 192.0.2.1',
    'revoked ssh from 192.0.2.2',
    'revoked ssh from 2001:db8::1',
    goesOn,
  ]);
  t.same((await serviceOf(world, 'admin')).clients, ['10.77.0.2 bob', '2001:db8::2']);
  await fill();
  const { revoked, ...rest } = (await json(t, world, 'revoke', '--all')) as {
    revoked: readonly { client: string }[];
  };
  t.same(rest, { event: 'revoked', cut: null });
  t.same(
    revoked.toSorted((a, b) => (a.client < b.client ? -1 : 1)),
    [
      { service: 'admin', client: '10.77.0.2', user: 'bob' },
      { service: 'ssh', client: '192.0.2.1', user: null },
      { service: 'ssh', client: '192.0.2.2', user: null },
      { service: 'ssh', client: '2001:db8::1', user: null },
      { service: 'admin', client: '2001:db8::2', user: null },
    ],
  );
  for (const name of ['ssh', 'admin']) t.same((await serviceOf(world, name)).clients, []);
  t.equal(await says(t, world, 'revoke', '--all'), `no client was in; ${goesOn}`);
});

t.test(
  'a user means all clients that are in by that name, and comes before a service of that name',
  needs,
  async t => {
    const backup = { ...admin, ports: [8444], sequences: { alice: [7011, 7013], ssh: [7011, 7014] } };
    const world = await loadedWorld(t, { services: { ssh, admin, backup } }, { clients });
    const { ipv4, ipv6 } = world.server;
    await world.host('client').knock(ipv4, aliceKnocks);
    await world.host('client').knock(ipv6, ['7011/tcp', '7013/tcp']);
    await world.host('other').knock(ipv4, bobKnocks);
    await world.host('other').knock(ipv4, ['7011/tcp', '7014/tcp']);
    await world.host('other').knock(ipv4, sshKnocks);
    t.equal(
      await says(t, world, 'revoke', 'backup', 'alice'),
      `revoked backup from fd77::2 (alice); ${goesOn}`,
    );
    t.equal(await says(t, world, 'revoke', 'alice'), `revoked admin from 10.77.0.2 (alice); ${goesOn}`);
    t.equal(await says(t, world, 'revoke', 'alice'), `no client was in as alice; ${goesOn}`);
    t.equal(await says(t, world, 'revoke', 'ssh'), `revoked backup from 10.77.0.3 (ssh); ${goesOn}`);
    t.same((await serviceOf(world, 'admin')).clients, ['10.77.0.3 bob']);
    t.same(
      (await serviceOf(world, 'ssh')).clients,
      ['10.77.0.3'],
      'the service of that name is another thing',
    );
  },
);

t.test('a full set is reported in words', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh }, limits: { clients: 2 } });
  await says(t, world, 'grant', 'ssh', '192.0.2.1');
  await says(t, world, 'grant', 'ssh', '192.0.2.2');
  failsWith(
    t,
    await world.knockd(['grant', 'ssh', '192.0.2.3']),
    1,
    /"limits.clients" allows no more clients/,
  );
  await says(t, world, 'grant', 'ssh', '192.0.2.2', '--for', '1h');
  await says(t, world, 'revoke', '192.0.2.1');
  await says(t, world, 'grant', 'ssh', '192.0.2.3');
});

t.test('grants and revocations while others change the ruleset without a pause', needs, async t => {
  const world = await loadedWorld(t, both);
  const files = ['a', 'b'].map((name, index) => {
    const path = `${world.configFile}.${name}`;
    const config = { services: { ssh: { ...ssh, openFor: `${5 + index}m` }, admin }, strict: index === 0 };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  });
  const busy = world.start('server', 'sh', [
    '-c',
    'trap "" TERM; while :; do nft "add table inet other; delete table inet other"; done',
  ]);
  let swaps = 0;
  let stop = false;
  const swapping = (async () => {
    while (!stop) {
      const { status } = await world.knockd(['load'], { config: files[swaps % 2] ?? '' });
      if (status !== 0) throw new Error(`load ended with ${status}`);
      swaps++;
    }
  })();
  for (let round = 0; round < 6; round++) {
    const address = `192.0.2.${round}`;
    t.match(await says(t, world, 'grant', 'ssh', address), `granted ssh to ${address}`);
    if (round % 2 === 0) t.match(await says(t, world, 'revoke', address), `revoked ssh from ${address}`);
  }
  stop = true;
  await swapping;
  await busy.stop('SIGKILL');
  t.ok(swaps >= 2, `${swaps} swaps meanwhile`);
  t.same((await serviceOf(world, 'ssh')).clients, ['192.0.2.1', '192.0.2.3', '192.0.2.5']);
});

t.test('without CAP_NET_ADMIN both are 77', needs, async t => {
  const world = await loadedWorld(t, both);
  const bare = ['--bounding-set', '-all', '--inh-caps', '-all', process.execPath, 'dist/knockd-nft.cjs'];
  for (const words of [
    ['grant', 'ssh', '192.0.2.7'],
    ['revoke', '--all'],
    ['revoke', '192.0.2.7', '--cut'],
  ])
    failsWith(t, await world.run('server', 'setpriv', [...bare, ...words]), 77, /CAP_NET_ADMIN/);
});

t.test('who is revoked while a load gives the table another name is out of both tables', needs, async t => {
  const world = await loadedWorld(t, both, { clients });
  await says(t, world, 'grant', 'ssh', '192.0.2.7', '--for', '1h');
  const listed = (await world.list()).replace('table inet knockd ', 'table inet renamed ');
  await world.nft(listed);
  const clientsOf = async (table: string) =>
    (await world.run('server', 'nft', ['list', 'set', 'inet', table, 'ssh_clients_ipv4'])).stdout;
  t.match(await clientsOf('renamed'), '192.0.2.7');
  await says(t, world, 'revoke', 'ssh', '192.0.2.7');
  for (const table of ['knockd', 'renamed']) t.notMatch(await clientsOf(table), '192.0.2.7', table);
});
