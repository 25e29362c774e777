/** One-time tokens: a packet that opens a service once, checked and used up by the kernel. */
import t from 'tap';
import { beginOf, deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram, tokenRequest } from '../../src/token/packet.ts';
import { families, look, serviceOf } from './loaded.ts';
import { lacking } from './process.ts';
import { built, script } from './swapping.ts';
import { GOOD, token, tokens, tokenWorld } from './token-world.ts';
import { rules } from './trying.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };

t.test('a token opens once, for the address that sent it, over IPv4 and IPv6', needs, async t => {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.load();
  await world.host('server').listen(22);
  for (const [index, family] of families.entries()) {
    const to = world.server[family];
    const good = token('alice', GOOD + index);
    t.equal(await world.host('client').connect(to, 22), 'silent');
    await world.sendToken('client', good, family);
    t.equal(await world.host('client').connect(to, 22), 'open');
    await world.sendToken('stranger', good, family);
    t.equal(await world.host('stranger').connect(to, 22), 'silent', 'the same token again');
  }
  const { clients, opened } = await serviceOf(world, 'ssh');
  t.same(clients, [`${world.client.ipv4} alice`, `${world.client.ipv6} alice`].sort());
  t.equal(opened, 2);
});

t.test(
  'a packet without a token of this service, or too short, opens nothing and leaves nothing',
  needs,
  async t => {
    const world = await tokenWorld(t);
    await world.load();
    await world.host('server').listen(22);
    const wrong = [
      token('alice', -5),
      token('alice', GOOD, { realm: 'other' }),
      token('alice', GOOD, { service: 'web' }),
      token('alice', GOOD).toUpperCase().replace(/\d/g, '0'),
      token('alice', GOOD).slice(0, 31),
      '',
    ];
    for (const text of wrong) t.notOk(await world.opens('client', text), text);
    const listing = await world.list();
    t.match(listing, /counter wrong_tokens \{\s+packets 4 /);
    t.match(listing, /counter repeated_tokens \{\s+packets 0 /);
    t.notMatch(listing, /set used \{[^}]*elements/);
  },
);

t.test('a token that was used is gone from the map, and counted when it comes again', needs, async t => {
  const world = await tokenWorld(t);
  await world.load({ ...tokens, token: { hours: 1 } });
  await world.host('server').listen(22);
  const good = token('alice', GOOD);
  const digits = Buffer.from(good).toString('hex').replace(/^0+/, '');
  const isThere = async () => (await world.list()).split('set used {').map(part => part.includes(digits));
  t.same(await isThere(), [true, false], 'in the map, not in the set');
  t.ok(await world.opens('client', good));
  await world.sendToken('client', good);
  t.same(await isThere(), [false, true], 'in the set, not in the map');
  t.match(await world.list(), /counter repeated_tokens \{\s+packets 1 /);
});

t.test('a token in the data of a running connection opens, from its client alone', needs, async t => {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.load({ ...tokens, token: { payload: ['80/tcp'] } });
  for (const port of [22, 80]) await world.host('server').listen(port);
  for (const [index, family] of families.entries()) {
    const to = world.server[family];
    const good = token('alice', GOOD + index);
    const syn = { protocol: 'tcp', to, port: 80, from: world.addresses('stranger')[family] } as const;
    await world.host('client').send([
      { ...syn, payload: tokenDatagram(good) },
      { ...syn, flags: ['ack', 'psh'], payload: tokenDatagram(good) },
    ]);
    t.equal(await world.host('stranger').connect(to, 22), 'silent', 'a forged segment with data');
    const session = await world.host('client').open(to, 80);
    t.equal(await session.send(`GET /knockd-nft/1.......${good} HTTP/1.1`), 'alive');
    t.equal(await world.host('client').connect(to, 22), 'open');
    const other = await world.host('stranger').open(to, 80);
    t.equal(await other.send(tokenDatagram(good)), 'alive');
    t.equal(await world.host('stranger').connect(to, 22), 'silent', 'the same token again');
    await world.sendToken('stranger', good, family);
    t.equal(await world.host('stranger').connect(to, 22), 'silent', 'and again, in a datagram');
  }
});

t.test(
  'a program on a port of payload answers the same to a right token, a repeated one and a wrong one',
  needs,
  async t => {
    const world = await tokenWorld(t);
    await world.load({ ...tokens, token: { payload: ['80/tcp'] } });
    await world.host('server').listen(80); // it sends back what comes
    const client = world.host('client');
    for (const [index, family] of families.entries()) {
      const good = token('alice', GOOD + index);
      const heard: (readonly string[])[] = [];
      for (const one of [good, good, '0'.repeat(32)]) {
        const captured = await client.capture();
        const session = await client.open(world.server[family], 80);
        t.equal(await session.send(tokenRequest(one, 'server')), 'alive');
        heard.push((await captured.end()).filter(({ sourcePort }) => sourcePort === 80).map(look));
      }
      const [right = [], ...others] = heard;
      t.ok(right.length > 1, right.join(' | '));
      for (const other of others) t.same(other, right, family);
      t.equal((await serviceOf(world, 'ssh')).opened, index + 1, 'the right one opened');
    }
  },
);

t.test('a token in the data to a port that is not named opens nothing', needs, async t => {
  const world = await tokenWorld(t);
  await world.load({ ...tokens, token: { payload: ['80/tcp'] } });
  for (const port of [22, 81]) await world.host('server').listen(port);
  const session = await world.host('client').open(world.server.ipv4, 81);
  t.equal(await session.send(tokenDatagram(token('alice', GOOD))), 'alive');
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
});

t.test(
  'a link-local address, which others have on other links, is no client by a token either',
  needs,
  async t => {
    const world = await tokenWorld(t);
    await world.load({ ...tokens, token: { payload: ['80/tcp'] } });
    for (const port of [22, 80]) await world.host('server').listen(port);
    await world.addAddress('client', '169.254.7.7/16');
    await world.addAddress('server', '169.254.7.1/16');
    const [first, second] = [token('alice', GOOD), token('bob', GOOD)];
    for (const [from, to, payload] of [
      ['169.254.7.7', '169.254.7.1', tokenDatagram(first)],
      ['fe80::77:2', 'fe80::77:1', tokenDatagram(second)],
    ] as const) {
      await world.host('client').send([{ protocol: 'udp', to, from, port: 62201, payload }]);
      t.same((await serviceOf(world, 'ssh')).clients, [], from);
      const session = await world.host('client').open(to.startsWith('fe80') ? `${to}%eth0` : to, 80);
      t.equal(await session.send(payload), 'alive');
      t.same((await serviceOf(world, 'ssh')).clients, [], `${from}, in a segment`);
    }
    for (const good of [first, second]) await world.sendToken('client', good);
    t.match(
      await serviceOf(world, 'ssh'),
      { clients: [`${world.client.ipv4} bob`], opened: 2 },
      'none was used up',
    );
  },
);

t.test('a removed user is out at once, and his tokens with him; the others stay', needs, async t => {
  const world = await tokenWorld(t, { clients: ['client', 'other'] });
  await world.load();
  await world.host('server').listen(22);
  t.ok(await world.opens('client', token('alice', GOOD)));
  t.ok(await world.opens('other', token('bob', GOOD)));
  const { bob } = tokens.services.ssh.tokens;
  await world.load({ services: { ssh: { ...tokens.services.ssh, tokens: { bob } } } });
  t.same((await serviceOf(world, 'ssh')).clients, [`${world.addresses('other').ipv4} bob`]);
  t.notOk(await world.opens('client', token('alice', GOOD + 1)));
  t.ok(await world.opens('client', token('bob', GOOD + 1)));
});

t.test('users who come when the others fill the map get tokens at once', needs, async t => {
  const world = await tokenWorld(t);
  const secretOf = (user: number) => user.toString(16).padStart(64, '0');
  const file = (count: number) => {
    const users = Array.from({ length: count }, (_, user) => [`u${user}`, secretOf(user)]);
    return { services: { ssh: { ...tokens.services.ssh, tokens: Object.fromEntries(users) } } };
  };
  await world.host('server').listen(22);
  await world.load(file(90));
  t.match(await world.load(file(128)), /^tokens: 128 users, until /m);
  const key = { secret: Buffer.from(secretOf(127), 'hex'), realm: 'default', service: 'ssh' };
  t.ok(await world.opens('client', deriveToken(key, windowAt(Date.now()) + GOOD)));
});

t.test(
  'a token that was fed again before its use was noted opens no more once it is',
  { skip: missing('namespaces', 'knockd', 'nft') },
  async t => {
    const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
    await world.load();
    await world.host('server').listen(22);
    const copy = token('alice', GOOD);
    t.ok(await world.opens('client', copy));
    // a load that had looked before the use, and found the table gone after it
    await script(
      world,
      `
    import { spawnSync } from 'node:child_process';
    import { readConfig } from ${built('config/read.js')};
    import { apply } from ${built('feeder/apply.js')};
    import { noteUses } from ${built('feeder/feed.js')};
    import { withKernel } from ${built('host/access.js')};
    import { Writer } from ${built('table/writer.js')};
    const [, path, token, state] = process.argv;
    const env = { STATE_DIRECTORY: state };
    const { config } = readConfig(path, env);
    spawnSync('nft', ['flush', 'ruleset']);
    await withKernel(async access => {
      const { tokens } = await apply(access, config, { env, watched: true });
      const { place } = tokens.users.find(({ user }) => user === 'alice');
      await noteUses(new Writer(access.connection), tokens, [{ place, token }], env);
    });`,
      [world.configFile, copy, world.env.STATE_DIRECTORY],
    );
    t.notOk(await world.opens('stranger', copy));
    t.ok(await world.opens('stranger', token('bob', GOOD)), 'a fresh one');
  },
);

t.test('the only user of a service is out when he goes while the table gets another name', needs, async t => {
  const world = await tokenWorld(t);
  const { ssh } = tokens.services;
  const { tokens: users, ...plain } = ssh;
  await world.loadFresh({ services: { ssh: { ...ssh, tokens: { alice: users.alice } } } });
  await world.host('server').listen(22);
  t.ok(await world.opens('client', token('alice')));
  await world.load({ table: 'renamed', services: { ssh: { ...plain, sequence: [7001, 7003, 7005] } } });
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
});

t.test(
  'with every process of ours dead a token opens, and each ends by itself 90 s after its minute',
  { skip: missing('namespaces', 'knockd', 'nft') },
  async t => {
    const world = await tokenWorld(t);
    await world.load({ ...tokens, token: { hours: 1 } });
    await world.host('server').listen(22);
    const { stdout } = await world.run('server', 'nft', [
      '--json',
      'list',
      'map',
      'inet',
      'knockd',
      'tokens',
    ]);
    const now = Date.now();
    const { nftables } = JSON.parse(stdout) as { nftables: { map?: { elem: readonly unknown[] } }[] };
    const elements = nftables.flatMap(({ map }) => map?.elem ?? []) as [
      string | { elem: { val: string; expires?: number } },
      number,
    ][];
    /** When it ends, in seconds from now, by its digits. */
    const ends = new Map(
      elements.flatMap(([key]) =>
        typeof key === 'object'
          ? [[Buffer.from(key.elem.val.slice(2), 'hex').toString(), key.elem.expires]]
          : [],
      ),
    );
    t.ok(ends.size >= 100, `${ends.size} tokens of two users`);
    let found = 0;
    for (let ahead = 0; ahead <= 63; ahead++) {
      const expires = ends.get(token('alice', ahead));
      if (expires === undefined) continue;
      found++;
      const wanted = (beginOf(windowAt(now) + ahead + 1) + 90_000 - now) / 1000;
      t.ok(Math.abs(expires - wanted) < 5, `${ahead} minutes ahead: ${expires} s, ${wanted} s`);
    }
    t.equal(2 * found, ends.size, 'and there is no other');
    t.ok(await world.opens('client', token('alice', GOOD)));
  },
);

t.test(
  'if another process keeps the record of used tokens, load says so in a sentence, and changes nothing',
  { skip: needs.skip || lacking('flock') },
  async t => {
    const world = await tokenWorld(t);
    await world.load();
    await world.host('server').listen(22);
    const before = await rules(world);
    const keeper = world.start('server', 'flock', [
      '--no-fork', // so that the end of the keeper ends all of it
      world.env.STATE_DIRECTORY,
      'sh',
      '-c',
      'echo kept; exec sleep infinity',
    ]);
    await keeper.line(/^kept$/);
    world.write({ services: {} }); // its load takes the tokens out first
    const { status, stderr } = await world.knockd(['load'], { env: world.env });
    t.equal(status, 1);
    t.match(stderr, /^knockd-nft: another process has kept the record of used tokens for 10 s$/m);
    t.notMatch(stderr, /^ +at /m, 'and no stack');
    t.equal(await rules(world), before);
    t.ok(await world.opens('client', token('alice', GOOD)), 'and its tokens still open');
    await keeper.stop();
  },
);
