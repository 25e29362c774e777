/** `doctor --trace`: a real client knocks and connects, and who kept it out is named; nothing of it stays behind. */
import t, { type Test } from 'tap';
import { families, loadedWorld, ssh, sshKnocks, until } from './loaded.ts';
import { lacking, type Running } from './process.ts';
import { GOOD, token, tokens, tokenWorld } from './token-world.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const withIptables = { skip: needs.skip || lacking('iptables-nft') };

interface Traced {
  readonly lines: readonly string[];
  /** The last line. */
  readonly sentence: string;
  readonly status: number;
}

async function tracing(world: World, address: string, ...more: readonly string[]): Promise<Running> {
  const running = world.startKnockd(['doctor', '--trace', address, ...more]);
  await until(
    () => world.list(),
    ruleset => ruleset.includes('table inet knockd_trace'),
  );
  return running;
}

/** The report on the client's actions, until it is in or has done them all. */
async function traced(
  world: World,
  act: () => Promise<unknown>,
  address = world.client.ipv4,
): Promise<Traced> {
  const running = await tracing(world, address, '--for', '5m');
  await act();
  const { status, stdout } = await running.stop('SIGINT'); // it may have ended
  const lines = stdout.trimEnd().split('\n');
  return { lines, sentence: lines.at(-1) ?? '', status };
}

async function serving(t: Test, config: object = { services: { ssh } }): Promise<World> {
  const world = await loadedWorld(t, config);
  await world.host('server').listen(22);
  return world;
}

t.test(
  'a client that opens a service without ports is reported, and the trace ends at once',
  needs,
  async t => {
    const wake = { ports: [], sequence: ['10000/tcp', '2345/udp'] };
    const world = await serving(t, { services: { wake } });
    const running = await tracing(world, world.client.ipv4);
    await world.host('client').knock(world.server.ipv4, wake.sequence);
    const { status, stdout } = await running.ended;
    t.match(
      stdout,
      new RegExp(`\n${world.client.ipv4} opened wake, which has no ports: it is only an event\n$`),
    );
    t.equal(status, 0);
    const first = await traced(world, () => world.host('client').knock(world.server.ipv4, ['10000/tcp']));
    t.equal(first.status, 1, 'one knock opens nothing');
  },
);

t.test('a client that gets in is reported at once, with all that its packets met', needs, async t => {
  const world = await serving(t);
  for (const family of families) {
    const client = world.host('client');
    const address = world.client[family];
    const { lines, sentence, status } = await traced(
      world,
      async () => {
        await client.knock(world.server[family], sshKnocks);
        t.equal(await client.connect(world.server[family], 22), 'open');
      },
      address,
    );
    t.equal(status, 0);
    t.equal(sentence, `${address} got in to 22/tcp (ssh): no table kept it out`);
    t.strictSame(lines.filter(line => !line.startsWith(' ')).slice(0, -1), [
      ...[1, 2, 3, 4].map(number => `services.ssh.sequence: knock ${number}, by eth0`),
      '22/tcp (ssh), by eth0',
      'the answer of 22/tcp (ssh)',
    ]);
    t.match(lines.join('\n'), /^ {2}inet knockd, input: .* -> goto guard_ssh$/m);
    t.notMatch(lines.join('\n'), /10000|2345|3456|1234/);
  }
  t.notMatch(await world.list(), 'knockd_trace');
});

t.test('a ban by another program, which nothing foretells, is named with its rule', needs, async t => {
  const world = await serving(t);
  await world.nft(`table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; elements = { ${world.client.ipv4} }; }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport { 22, 80-90 } ip saddr @addr-set-sshd reject with icmp port-unreachable
	}
}`);
  const { sentence, status } = await traced(world, async () => {
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    t.not(await world.host('client').connect(world.server.ipv4, 22), 'open');
  });
  t.equal(status, 1);
  t.match(
    sentence,
    /^10\.77\.0\.2 was kept out of 22\/tcp \(ssh\): table inet f2b-table, chain f2b-chain rejects it: tcp dport \{ 22, 80-90 \} ip saddr @addr-set-sshd # reject \(handle \d+\)$/,
  );
});

t.test('a mark that one rule sets and another drops by is followed', needs, async t => {
  const world = await serving(t);
  await world.nft(`table inet marking {
	chain early {
		type filter hook prerouting priority mangle; policy accept;
		tcp dport 22 meta mark set 0x00000007
	}
	chain input {
		type filter hook input priority filter; policy accept;
		meta mark 0x00000007 drop
	}
}`);
  const { lines, sentence } = await traced(world, async () => {
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  });
  t.match(lines.join('\n'), '\n  inet marking, early: tcp dport 22 meta mark set 0x00000007\n');
  t.equal(
    sentence,
    '10.77.0.2 was kept out of 22/tcp (ssh): table inet marking, chain input drops it: meta mark 0x00000007 drop',
  );
});

t.test(
  'incomplete knocks, and knocks out of order, are reported by their numbers, never by a port',
  needs,
  async t => {
    const world = await serving(t);
    const [first = '', second = '', third = '', fourth = ''] = sshKnocks;
    const attempt = async (knocks: readonly string[]) => {
      const { sentence, lines } = await traced(world, async () => {
        await world.host('client').knock(world.server.ipv4, knocks);
        t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
      });
      t.notMatch(lines.join('\n'), /10000|2345|3456|1234/);
      return sentence;
    };
    t.equal(
      await attempt([first, third, second, fourth]),
      '10.77.0.2 was kept out of 22/tcp (ssh) by its guard, since no sequence was complete: of services.ssh.sequence came knock 1, 3, 2 and 4 of 4, not all, or not in order',
    );
    t.match(await attempt([]), /no sequence was complete: none of its knocks reached our table$/);
    t.match(
      await attempt([first, second, '9/tcp', third, fourth]),
      /knock 1, 2, 3 and 4 of 4, too slow, or with others in between$/,
    );
  },
);

t.test('a knock that another table drops before us is named by its place', needs, async t => {
  const world = await serving(t);
  await world.nft(`table inet scanners {
	set seen { type ipv4_addr; flags dynamic,timeout; timeout 1m; size 100; }
	chain input {
		type filter hook input priority -100; policy accept;
		tcp dport 2345 add @seen { ip saddr } drop
	}
}`);
  const { sentence, lines } = await traced(world, async () => {
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  });
  t.match(
    sentence,
    'of services.ssh.sequence came knock 1, 3 and 4 of 4, not all, or not in order; table inet scanners, chain input drops it: tcp dport (a knock) add @seen { ip saddr } drop, which is services.ssh.sequence: knock 2, before it reaches our table',
  );
  t.notMatch(lines.join('\n'), /2345/);
});

t.test(
  "a list of iptables' recent match is named with its rule, as far as it is understood",
  withIptables,
  async t => {
    const world = await serving(t);
    const rules = `*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 3456 -m recent --name knockers --set
-A INPUT -p tcp --dport 22 -m recent --name knockers --rcheck --seconds 60 -j DROP
COMMIT
`;
    const { status, stderr } = await world.run('server', 'iptables-nft-restore', [], { input: rules });
    t.equal(status, 0, stderr);
    const { sentence } = await traced(world, async () => {
      await world.host('client').knock(world.server.ipv4, sshKnocks);
      t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
    });
    t.match(
      sentence,
      /^10\.77\.0\.2 was kept out of 22\/tcp \(ssh\): table ip filter, chain INPUT drops it: .*\(handle \d+\)$/,
    );
  },
);

t.test('an answer that does not come out is reported', needs, async t => {
  const world = await serving(t);
  await world.nft(
    'table inet out {\n chain output {\n type filter hook output priority 0; policy accept;\n tcp sport 22 drop\n }\n }',
  );
  const { sentence } = await traced(world, async () => {
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  });
  t.equal(
    sentence,
    '10.77.0.2 came in to 22/tcp (ssh), but its answer did not come out: table inet out, chain output drops it: tcp sport 22 drop',
  );
});

t.test('if a client sends nothing, the trace says so when its time is over', needs, async t => {
  const world = await serving(t);
  const { status, stdout } = await world.knockd(['doctor', '--trace', '10.77.0.99', '--for', '1s']);
  t.equal(status, 1);
  t.match(stdout, /^no new packet of 10\.77\.0\.99 came to this host's nf_tables/);
});

t.test('for programs it is an object a line', needs, async t => {
  const world = await serving(t);
  const running = await tracing(world, world.client.ipv4, '--for', '5m', '--json');
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  await world.host('client').connect(world.server.ipv4, 22);
  const { stdout } = await running.ended;
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  t.match(lines[0], {
    packet: 'services.ssh.sequence: knock 1',
    is: 'knock',
    interface: 'eth0',
    met: [{ table: 'inet knockd', chain: 'input', verdict: 'goto knock' }],
    stopped: false,
  });
  t.match(lines.at(-1), { address: '10.77.0.2', in: true, sentence: /got in/ });
  t.notMatch(stdout, /10000|2345|3456|1234/);
});

t.test('the trace says whether a token opened, was wrong, was used before, or is none', needs, async t => {
  const world = await tokenWorld(t);
  const { ssh: service } = tokens.services;
  await world.load({ services: { ssh: { ...service, sequence: ssh.sequence } } });
  await world.host('server').listen(22);
  const good = token('alice', GOOD);
  const attempt = (sent: readonly string[]) =>
    traced(world, async () => {
      for (const one of sent) await world.sendToken('client', one);
      await world.host('client').connect(world.server.ipv4, 22);
    });
  const opened = await attempt([good]);
  t.equal(opened.status, 0);
  t.match(opened.lines[0], '62201/udp, the port of tokens, by eth0');
  t.match(opened.sentence, /^10\.77\.0\.2 got in to 22\/tcp \(ssh\)/);
  await world.nft('flush set inet knockd ssh_clients_ipv4');
  const out =
    /^10\.77\.0\.2 was kept out of 22\/tcp \(ssh\) by its guard, since no token opened it: (.*), and no sequence was/;
  for (const [sent, why] of [
    [[], 'none reached our table'],
    [[good.slice(0, 31)], /^a packet came that is no token: /],
    [['0'.repeat(32), good], /^one came that is not in the kernel: .*; one came that was used before$/],
  ] as const) {
    const { lines, sentence, status } = await attempt(sent);
    t.equal(status, 1);
    t.match(out.exec(sentence)?.[1], why, sentence);
    t.notMatch(lines.join('\n'), good);
  }
});

t.test('a flood does not fill the reader', needs, async t => {
  const world = await serving(t);
  const { lines } = await traced(world, () =>
    world.host('client').flood({ to: world.server.ipv4, knocks: ['9/tcp', '10/udp'], count: 20_000 }),
  );
  const packets = lines.filter(line => !line.startsWith(' '));
  t.ok(packets.length < 150, `${packets.length} packets were traced`);
});

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const)
  t.test(`nothing is left behind after ${signal}`, needs, async t => {
    const world = await serving(t);
    const before = await world.list();
    const running = await tracing(world, world.client.ipv4, '--for', '5m');
    const { status, stdout } = await running.stop(signal);
    if (signal === 'SIGKILL') t.equal(status, 137);
    else t.match({ status, stdout }, { status: 1, stdout: /^no new packet of/ });
    const after = await until(
      () => world.list(),
      ruleset => !ruleset.includes('knockd_trace'),
    );
    t.equal(after, before);
  });

t.test('only one may trace, and a table of that name that is not ours is left alone', needs, async t => {
  const world = await serving(t);
  const running = await tracing(world, world.client.ipv4, '--for', '5m');
  const second = await world.knockd(['doctor', '--trace', '10.77.0.3']);
  t.match(second, { status: 1, stderr: /another doctor --trace runs/ });
  await running.stop();
  await world.nft('table inet knockd_trace {\n comment "mine"\n }');
  const foreign = await world.knockd(['doctor', '--trace', '10.77.0.3']);
  t.match(foreign, { status: 1, stderr: /table inet knockd_trace exists and is not ours/ });
  t.match(await world.list(), 'comment "mine"');
});

t.test('a table that an older kernel kept after a kill is no obstacle', needs, async t => {
  const world = await serving(t);
  await world.nft('table inet knockd_trace {\n comment "knockd-nft trace"\n }');
  const { stdout } = await world.knockd(['doctor', '--trace', '10.77.0.99', '--for', '1s']);
  t.match(stdout, /^no new packet/);
  t.notMatch(await world.list(), 'knockd_trace');
});

t.test('wrong words are refused before anything is done', needs, async t => {
  const world = await serving(t);
  for (const [words, why] of [
    [['--trace', 'nobody'], /"nobody" is no address: expected the address of one client/],
    [['--trace', '10.77.0.0/24'], /is a network: expected the address of one client/],
    [['--trace', '0.0.0.0'], /"0\.0\.0\.0" is no host's address/],
    [['--trace', '10.77.0.2', '--for', '1y'], /--for 1y/],
    [['--for', '5s'], /--for belongs to --trace ADDRESS/],
  ] as const)
    t.match(await world.knockd(['doctor', ...words]), { status: 64, stdout: '', stderr: why });
});
