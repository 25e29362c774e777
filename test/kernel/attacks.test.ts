/** Holes that an attack on earlier versions of the data plane found: closed for good. */
import t from 'tap';
import { families, knocking, load, loadedWorld, serviceOf, ssh, sshKnocks, status, until } from './loaded.ts';
import type { Packet } from './packet.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };
const needsNft = { skip: missing('namespaces', 'knockd', 'nft') };

/** Port 2121 is FTP to connection tracking; false if the kernel has no helper for it. */
async function ftpHelper(world: World): Promise<boolean> {
  const script = `table inet helpers {
  ct helper ftp { type "ftp" protocol tcp; }
  chain prerouting {
    type filter hook prerouting priority filter
    tcp dport 2121 ct helper set "ftp"
  }
}`;
  return world.nft(script).then(
    () => true,
    () => false,
  );
}

t.test("a helper's expectation opens no guarded port", { ...needsNft }, async t => {
  const world = await createWorld(t, { clients: ['client', 'stranger'] });
  // tap writes the reason into the options that the test was given
  if (!(await ftpHelper(world))) return t.plan(0, 'this kernel has no FTP helper (nf_conntrack_ftp)');
  await load(world, { services: { ssh } });
  const server = world.host('server');
  for (const port of [22, 23, 2121]) await server.listen(port);
  const client = world.host('client');
  const expect = async (port: number) => {
    const session = await client.open(world.server.ipv4, 2121);
    // the server echoes: the client chooses what it says
    await session.send(`hello\r\n`);
    await session.send(`227 Entering Passive Mode (10,77,0,1,0,${port})\r\n`);
  };
  await world.nft(`table inet witness {
  counter related { }
  chain input {
    type filter hook input priority -199
    ct state related tcp flags syn counter name related
  }
}`);
  await expect(22);
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  t.equal(await client.connect(world.server.ipv4, 22), 'silent', 'nor at the second try');
  t.match(await world.list(), /counter related \{\s*packets [12] /, 'it was an expected connection');
  await expect(23);
  await load(world, { services: { ssh }, policy: 'drop', public: [2121] });
  t.equal(await client.connect(world.server.ipv4, 23), 'open', 'where nothing is guarded it is let in');
});

t.test('UDP to broadcast, multicast and anycast addresses knocks on nothing', needs, async t => {
  const services = { ssh: { ...ssh, sequence: ['7000/udp', 10000, 2345] } };
  const world = await loadedWorld(t, { services }, { container: true });
  const everybody = ['10.77.0.255', '255.255.255.255', '224.0.0.1', 'ff02::1', 'fd77::'];
  await world.host('client').send(everybody.map(to => ({ protocol: 'udp', to, port: 7000, from: own(to) })));
  t.same(await knocking(world), []);
  await world.host('client').knock(world.server.ipv4, ['7000/udp']);
  t.same(await knocking(world), ['10.77.0.2 ssh 1/3']);
});

function own(to: string): string {
  return to.includes(':') ? 'fd77::2' : '10.77.0.2';
}

t.test("one source's storm of right and wrong knocks stops nobody else's", needs, async t => {
  const clients = ['client', 'attacker'];
  const world = await loadedWorld(t, { services: { ssh } }, { clients });
  await world.host('server').listen(22);
  for (const wrong of ['1234/tcp', '9999/tcp']) {
    let storming = true;
    const storm = world
      .host('attacker')
      .flood({ to: world.server.ipv4, knocks: ['10000/tcp', wrong], count: 60_000, rate: 20_000 })
      .finally(() => {
        storming = false;
      });
    let tries = 0;
    let opened = 0;
    while (storming) {
      const before = await serviceOf(world, 'ssh');
      await world.host('client').knock(world.server.ipv4, sshKnocks);
      tries++;
      if ((await serviceOf(world, 'ssh')).opened > before.opened) opened++;
    }
    await storm;
    t.ok(opened > 0 && opened >= tries - 1, `${opened} of ${tries} beside ${wrong}`);
  }
  t.same((await serviceOf(world, 'ssh')).clients, ['10.77.0.2']);
});

t.test('only 250 knocks of such a storm are checked, and then 20 a second', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  for (const family of families) {
    const knocks = ['10000/tcp', '1234/tcp'];
    const start = performance.now();
    const before = (await status(world)).wrongKnocks;
    await world.host('client').flood({ to: world.server[family], knocks, count: 50_000 });
    const wrong = (await status(world)).wrongKnocks - before;
    const most = 250 + (20 * (performance.now() - start)) / 1000;
    t.ok(wrong >= 125 && wrong <= most, `${wrong} of 25000 wrong knocks`);
  }
});

t.test('a single-use opening survives stale packets and lets in once at the most', needs, async t => {
  const world = await loadedWorld(t, { services: { once: { ...ssh, singleUse: true } } });
  await world.host('server').listen(22, { backlog: 200 });
  const client = world.host('client');
  const to = world.server.ipv4;
  for (let opening = 1; opening <= 5; opening++) {
    const { accepted } = await serviceOf(world, 'once');
    await client.knock(to, sshKnocks);
    const stale: Packet = { protocol: 'tcp', to, port: 22, flags: ['ack'], acknowledgment: 1 };
    await client.send([stale, stale]);
    const reached = await Promise.all(Array.from({ length: 50 }, () => client.connect(to, 22)));
    const inside = reached.filter(reach => reach === 'open').length;
    t.ok(inside === 1 || inside === 2, `${inside} of 50 at once; two may meet in the same microsecond`);
    t.equal((await serviceOf(world, 'once')).accepted - accepted, inside);
    t.equal(await client.connect(to, 22), 'silent');
  }
});

t.test('a carried session is no pass for new connections from its port', needs, async t => {
  const world = await createWorld(t);
  await world.host('server').listen(22);
  const client = world.host('client');
  const localPort = 17000;
  const carried = await Promise.all(
    families.map(async family => ({
      to: world.server[family],
      session: await client.open(world.server[family], 22, { localPort }),
    })),
  );
  await load(world, { services: { ssh } });
  for (const { to, session } of carried) {
    t.equal(await client.probe({ protocol: 'tcp', to, port: 22, sourcePort: localPort }, 100), 'none');
    t.equal(await session.send('still here'), 'alive');
    await session.close();
  }
  const sockets = async () => (await world.run('server', 'ss', ['-Htn', 'sport', '=', ':22'])).stdout;
  await until(sockets, text => text === '');
  for (const { to } of carried) {
    t.equal(await client.probe({ protocol: 'tcp', to, port: 22, sourcePort: localPort }), 'none', 'its SYN');
    t.equal(await client.connect(to, 22), 'silent');
  }
  t.equal((await serviceOf(world, 'ssh')).accepted, 0);
});

t.test("a client's own chatter does not put it back in mid-sequence", needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const family of families) {
    const to = world.server[family];
    await client.knock(to, sshKnocks.slice(0, 2));
    const late = [['ack'], ['rst'], ['rst', 'ack'], ['fin', 'ack'], ['syn', 'ack']] as const;
    const chatter = {
      ipv4: ['10.77.0.255', '255.255.255.255', '239.255.255.250'],
      ipv6: ['ff02::fb', 'ff02::1'],
    };
    await client.send([
      ...late.map(flags => ({ protocol: 'tcp', to, port: 9999, flags }) as const),
      ...chatter[family].map(
        to => ({ protocol: 'udp', to, port: 57621, from: world.client[family] }) as const,
      ),
      { protocol: 'udp', to, port: 9999, badChecksum: true },
      { protocol: 'tcp', to, port: 9999, badChecksum: true },
      { protocol: 'tcp', to, port: 10000, badChecksum: true },
      { protocol: 'tcp', to, port: 3456, badChecksum: true },
    ]);
    t.same(await knocking(world), [`${world.client[family]} ssh 2/4`]);
    await client.knock(to, sshKnocks.slice(2));
    t.equal(await client.connect(to, 22), 'open');
  }
  t.equal((await status(world)).wrongKnocks, 0);
});

t.test('a client in mid-sequence finishes during a spoofed flood of first knocks', needs, async t => {
  const config = { services: { ssh }, limits: { progress: 4096, clients: 4096 } };
  const world = await loadedWorld(t, config, { clients: ['client', 'attacker'] });
  await world.host('server').listen(22);
  const client = world.host('client');
  for (const [family, first] of [
    ['ipv4', '198.18.0.1'],
    ['ipv6', '2001:db8::1'],
  ] as const) {
    const to = world.server[family];
    await client.knock(to, sshKnocks.slice(0, 2));
    const sources = { first, count: 20_000 };
    const flood = world
      .host('attacker')
      .flood({ to, knocks: ['10000/tcp'], sources, count: 200_000, rate: 50_000 });
    await until(
      async () => (await status(world)).knocking.filter(({ step }) => step === 1).length,
      count => count >= 4000,
    );
    await client.knock(to, sshKnocks.slice(2));
    t.equal(await client.connect(to, 22), 'open', `started_${family} is full`);
    t.equal(await client.connect(to, 22), 'open', 'who is in is not hurt');
    await flood;
  }
  t.equal((await serviceOf(world, 'ssh')).opened, 2);
});

t.test('under policy drop an idle outgoing connection from before hears its peer', needs, async t => {
  const world = await createWorld(t);
  const server = world.host('server');
  await world.host('client').listen(9000);
  const sessions = await Promise.all(
    families.map(family => server.open(world.client[family], 9000, { localPort: 17000 })),
  );
  await load(world, { services: { ssh }, policy: 'drop' });
  t.match(await world.list(), /sessions_ipv4[^}]*elements = \{ 10\.77\.0\.2 \. 9000 \. 17000/);
  const segment = { protocol: 'tcp', port: 17000, sourcePort: 9000, flags: ['ack'] } as const;
  for (const family of families) {
    const answer = await world.host('client').probe({ ...segment, to: world.server[family] });
    t.not(answer, 'none', 'the connection hears what its peer says first');
    const other = await world
      .host('client')
      .probe({ ...segment, to: world.server[family], sourcePort: 9001 });
    t.equal(other, 'none');
  }
  for (const session of sessions) t.equal(await session.send('hello'), 'alive');
});
