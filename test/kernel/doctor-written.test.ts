/**
 * `doctor` if the way of a packet depends on what rules write, or leads to parts that doctor does not look into: it
 * never calls fine what stops real packets.
 */
import t, { type Test } from 'tap';
import { complaints, diagnosis, examine, ids, knockAndConnect } from '../doctor/patient.ts';
import { families, loadedWorld, ssh } from './loaded.ts';
import { lacking } from './process.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const withIptables = { skip: needs.skip || lacking('iptables-nft') };

async function serving(t: Test): Promise<World> {
  const world = await loadedWorld(t, { services: { ssh } }, { clients: ['client', 'stranger'] });
  await world.host('server').listen(22);
  return world;
}

const chain = (hook: string, priority: string, rules: string, policy = 'accept') =>
  `\tchain ${hook} {\n\t\ttype filter hook ${hook} priority ${priority}; policy ${policy};\n\t\t${rules}\n\t}\n`;
const SET = '\tset s { type ipv4_addr; flags dynamic,timeout; timeout 1m; size 1000; }\n';

t.test('a rule that records what it drops still drops it', needs, async t => {
  const world = await serving(t);
  for (const statement of ['add @s { ip saddr }', 'update @s { ip saddr timeout 9s counter }']) {
    await world.nft(`table ip other {\n${SET}${chain('input', '-100', `tcp dport 2345 ${statement} drop`)}}`);
    t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
    t.match(await diagnosis(world, 'knocks-dropped'), {
      severity: 'broken',
      what: 'table ip other, chain input drops services.ssh.sequence: knock 2 before our table',
    });
    await world.nft('delete table ip other');
  }
  await world.nft(
    `table ip other {\n${SET}${chain('input', '0', 'tcp dport 22 add @s { ip saddr } reject with tcp reset')}}`,
  );
  t.equal(await knockAndConnect(world, 'ipv4'), 'refused');
  t.match(await diagnosis(world, 'clients-dropped'), {
    what: 'table ip other, chain input rejects 22/tcp (ssh) over IPv4',
  });
});

for (const [name, script] of [
  [
    'a set that packets put the knocker into',
    `table ip other {\n${SET}${chain('prerouting', 'raw', 'tcp dport 3456 add @s { ip saddr }')}${chain('input', '0', 'tcp dport 22 ip saddr @s drop')}}`,
  ],
  [
    'a set whose members are let in alone',
    `table ip other {\n${SET}${chain('prerouting', 'raw', 'tcp dport 9999 add @s { ip saddr }')}${chain('input', '0', 'tcp dport 22 ip saddr != @s drop')}}`,
  ],
  [
    'the mark of a packet',
    `table inet other {\n${chain('prerouting', 'mangle', 'tcp dport 22 meta mark set 7')}${chain('input', '0', 'meta mark 7 drop')}}`,
  ],
  [
    'the mark of a connection',
    `table inet other {\n${chain('prerouting', 'mangle', 'tcp dport 22 ct mark set 0x5')}${chain('input', '0', 'ct mark & 0x1 == 0x1 drop')}}`,
  ],
  [
    'what a packet is called',
    `table inet other {\n${chain('prerouting', 'mangle', 'tcp dport 22 meta pkttype set multicast')}${chain('input', '0', 'meta pkttype multicast drop')}}`,
  ],
] as const)
  t.test(
    `the effect of a rule that depends on ${name} cannot be told, and is not called fine`,
    needs,
    async t => {
      const world = await serving(t);
      await world.nft(script);
      t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
      t.match(await diagnosis(world, 'clients-unknown'), {
        severity: 'note',
        what: /^whether table \w+ other, chain input lets clients in to 22\/tcp \(ssh\) cannot be told$/,
        why: /--trace ADDRESS/,
      });
    },
  );

t.test('a knock that a rule of written state may drop is not called fine', needs, async t => {
  const world = await serving(t);
  await world.nft(
    `table ip other {\n${SET}${chain('input', '-100', 'tcp dport 10000 add @s { ip saddr }\n\t\ttcp dport 1234 ip saddr @s drop')}}`,
  );
  t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
  const finding = await diagnosis(world, 'knocks-unknown');
  t.match(
    finding.what,
    'whether table ip other, chain input lets services.ssh.sequence: knock 4 come to us cannot be told',
  );
  await world.nft('delete table ip other');
  await world.nft(
    `table ip other {\n${chain('input', '-100', 'tcp dport 1234 ip saddr != 198.51.100.7 drop')}}`,
  );
  t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
  t.match(await diagnosis(world, 'knocks-dropped'), { severity: 'risk', what: /for all but some clients$/ });
});

t.test("lists and marks of iptables' own matches are no less unknown", withIptables, async t => {
  const world = await serving(t);
  for (const rules of [
    '-A INPUT -p tcp --dport 3456 -m recent --name k --set\n-A INPUT -p tcp --dport 22 -m recent --name k --rcheck -j DROP',
    '-A INPUT -p tcp --dport 22 -j MARK --set-xmark 0x3/0xff\n-A INPUT -p tcp -m mark --mark 0x3 -j DROP',
    '-A INPUT -p tcp --dport 22 -j CONNMARK --set-xmark 0x3/0xff\n-A INPUT -p tcp -m connmark --mark 0x3/0xf -j DROP',
  ]) {
    const { status, stderr } = await world.run('server', 'iptables-nft-restore', [], {
      input: `*filter\n:INPUT ACCEPT [0:0]\n${rules}\nCOMMIT\n`,
    });
    t.equal(status, 0, stderr);
    t.equal(await knockAndConnect(world, 'ipv4'), 'silent', rules);
    t.match((await diagnosis(world, 'clients-unknown')).what, 'table ip filter, chain INPUT', rules);
  }
});

t.test('a port that is written into a packet is where it goes', needs, async t => {
  const world = await serving(t);
  await world.nft(`table inet other {\n${chain('prerouting', 'raw', 'tcp dport 2345 tcp dport set 9')}}`);
  t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
  t.match(await diagnosis(world, 'knocks-forwarded'), {
    what: 'table inet other, chain prerouting forwards services.ssh.sequence: knock 2 before our table',
  });
  await world.nft('delete table inet other');
  await world.host('server').listen(2222);
  await world.nft(
    `table inet other {\n${chain('prerouting', 'raw', 'tcp dport 22 tcp dport set 2222')}${chain('output', '300', 'tcp sport 2222 tcp sport set 22')}}`,
  );
  t.equal(await world.host('stranger').connect(world.server.ipv4, 22), 'open', 'without a knock');
  t.match(await diagnosis(world, 'forwarded-past-guard'), {
    severity: 'broken',
    what: 'table inet other, chain prerouting forwards 22/tcp (ssh) to port 2222, past the guard',
  });
});

t.test(
  'a guarded port that now and then is forwarded past the guard is broken, not dropped',
  needs,
  async t => {
    const world = await serving(t);
    for (const port of [2201, 2202]) await world.host('server').listen(port);
    for (const [rule, opens] of [
      ['tcp dport 22 redirect to :numgen inc mod 2 map { 0 : 2201, 1 : 2202 }', true],
      ['tcp dport 22 redirect to :jhash ip saddr mod 2 map { 0 : 2201, 1 : 2202 }', true],
      ['tcp dport 22 ip saddr 10.77.0.0/16 redirect to :2201', true],
      ['tcp dport 23 redirect to :numgen inc mod 2 map { 0 : 2201, 1 : 2202 }', false],
    ] as const) {
      await world.nft(
        `table ip other {\n\tchain pre {\n\t\ttype nat hook prerouting priority dstnat;\n\t\t${rule}\n\t}\n}`,
      );
      t.equal(await world.host('stranger').connect(world.server.ipv4, 22), opens ? 'open' : 'silent', rule);
      const { status, findings } = await examine(world);
      const finding = findings.find(({ id }) => id === 'forwarded-past-guard');
      t.equal(status, opens ? 1 : 0, rule);
      if (opens)
        t.match(
          finding,
          { severity: 'broken', what: /^table ip other, chain pre may forward 22\/tcp \(ssh\)/ },
          rule,
        );
      else t.equal(finding, undefined, rule);
      t.notMatch(
        findings.map(({ id }) => id),
        ['clients-unknown'],
        'to forward is not to drop',
      );
      await world.nft('delete table ip other');
    }
  },
);

t.test('known properties of a packet are not left open', needs, async t => {
  const world = await serving(t);
  await world.nft(`table ip6 other {\n${chain('input', '0', 'ip6 nexthdr ipv6-icmp accept', 'drop')}}`);
  t.equal(await knockAndConnect(world, 'ipv6'), 'silent');
  t.match(await diagnosis(world, 'clients-dropped'), {
    what: 'table ip6 other, chain input drops 22/tcp (ssh) over IPv6',
  });
  t.notMatch(await ids(world), ['clients-restricted']);
  await world.nft('delete table ip6 other');
  await world.nft(
    `table inet other {\n${chain('input', '0', 'exthdr frag exists drop\n\t\tip6 nexthdr tcp tcp dport 22 accept\n\t\tip protocol tcp tcp dport 22 accept\n\t\ttcp dport 22 drop')}}`,
  );
  for (const family of families) t.equal(await knockAndConnect(world, family), 'open');
  t.strictSame(await complaints(world), []);
});

t.test('doctor says where it does not look, and does not say that knocks are seen there', needs, async t => {
  const world = await serving(t);
  t.notMatch(await ids(world), ['not-looked-at']);
  const text = async () => (await world.knockd(['doctor'])).stdout;
  t.match(await text(), /ok +knocks: they reach our table and no other program\n/);
  await world.nft(`table netdev early {
	chain wire {
		type filter hook ingress device "eth0" priority 0; policy accept;
		tcp dport 2345 drop
	}
}
table inet early {
	chain ingress {
		type filter hook ingress device "eth0" priority 0; policy accept;
	}
}
table bridge early {
	chain bridged {
		type filter hook prerouting priority 0; policy accept;
	}
}`);
  t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
  const finding = await diagnosis(world, 'not-looked-at');
  t.equal(finding.severity, 'note');
  t.equal(
    finding.what,
    'doctor does not look into table inet early, chain ingress, table netdev early, chain wire and table bridge early, chain bridged',
  );
  const shown = await world.run('server', 'sh', ['-c', finding.mend]);
  t.match(shown, { status: 0, stdout: /tcp dport 2345 drop/ });
  t.match(await text(), /ok +knocks: they reach our table and no other program, as far as doctor\s+looks/);
});

t.test(
  'doctor says that it does not look into tc and XDP',
  { skip: needs.skip || lacking('tc') },
  async t => {
    const world = await serving(t);
    const { status, stderr } = await world.run('server', 'tc', ['qdisc', 'add', 'dev', 'eth0', 'clsact']);
    if (status !== 0) throw new Error(stderr);
    t.match((await diagnosis(world, 'not-looked-at')).what, 'doctor does not look into tc on eth0');
  },
);
