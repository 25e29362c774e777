/** `doctor` on what is in the way of knocks, around the guards, and on how all looks from outside; with real packets. */
import t, { type Test } from 'tap';
import { complaints, diagnosis, examine, follow, ids, knockAndConnect } from '../doctor/patient.ts';
import { families, load, loadedWorld, ssh, sshKnocks } from './loaded.ts';
import { createWorld, missing, type World, type WorldOptions } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const guarded = { services: { ssh } };

async function serving(t: Test, config: object = guarded, options: WorldOptions = {}): Promise<World> {
  const world = await loadedWorld(t, config, options);
  await world.host('server').listen(22);
  return world;
}

t.test(
  'a chain before ours that drops knocks is named by the place of the knock, never by its port',
  needs,
  async t => {
    const world = await serving(t);
    await world.nft(`table inet early {
	chain input {
		type filter hook input priority filter - 50; policy accept;
		tcp dport { 2345, 1234 } drop
	}
}`);
    for (const family of families) t.equal(await knockAndConnect(world, family), 'silent');
    const finding = await diagnosis(world, 'knocks-dropped');
    t.match(finding, {
      severity: 'broken',
      what: 'table inet early, chain input drops services.ssh.sequence: knock 2 and services.ssh.sequence: knock 4 before our table',
      mend: `"priority": -51  in ${world.configFile}`,
    });
    t.notMatch(JSON.stringify(await examine(world)), /10000|2345|3456|1234/);
    await follow(world, finding);
    for (const family of families) t.equal(await knockAndConnect(world, family), 'open');
    t.strictSame(await complaints(world), []);
    t.notMatch(await ids(world), ['knocks-dropped']);
  },
);

t.test('chains after ours may drop knocks, as any closed port', needs, async t => {
  const world = await serving(t);
  await world.nft(`table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept
		tcp dport 22 accept
		meta l4proto ipv6-icmp accept
	}
}`);
  for (const family of families) t.equal(await knockAndConnect(world, family), 'open');
  t.strictSame(await complaints(world), []);
});

t.test('a knock that is dropped before routing is named, and its port is not', needs, async t => {
  const world = await serving(t);
  await world.nft(`table ip raw {
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		tcp dport 3000-4000 drop
	}
}`);
  t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
  const finding = await diagnosis(world, 'knocks-dropped');
  t.match(finding, {
    severity: 'broken',
    what: 'table ip raw, chain prerouting drops services.ssh.sequence: knock 3 before our table',
  });
  t.notMatch(JSON.stringify(finding), /3456/);
  await follow(world, { ...finding, mend: finding.mend.replace('THE_PORT_OF_THAT_KNOCK', '3456') });
  t.equal(await knockAndConnect(world, 'ipv4'), 'open');
  t.strictSame(await complaints(world), []);
});

/** Docker 28's rules for a published port, by its backend for nftables and by the one for iptables. */
const DOCKER = {
  nftables: (port: number, address: string, target: number) => `table ip docker-bridges {
	map filter-forward-out-jumps { type ifname : verdict; }
	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local counter jump nat-prerouting-and-output
	}
	chain nat-prerouting-and-output {
		iifname != "docker0" tcp dport ${port} counter dnat to ${address}:${target} comment "DNAT"
	}
	chain filter-FORWARD {
		type filter hook forward priority filter; policy accept;
		oifname vmap @filter-forward-out-jumps
	}
	chain raw-PREROUTING {
		type filter hook prerouting priority raw; policy accept;
	}
}`,
  'iptables, as it is shown by nft': (port: number, address: string, target: number) => `table ip nat {
	chain DOCKER {
		iifname != "docker0" meta l4proto tcp tcp dport ${port} counter dnat to ${address}:${target}
	}
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local counter jump DOCKER
	}
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER
	}
}`,
};

for (const [backend, script] of Object.entries(DOCKER))
  t.test(
    `a published container port passes the guard by, until the hook is prerouting (${backend})`,
    needs,
    async t => {
      const world = await serving(
        t,
        { services: { web: { ...ssh, ports: [8080] } } },
        { clients: ['client', 'stranger'], container: true },
      );
      await world.host('container').listen(80);
      const address = world.addresses('container').ipv4;
      await world.nft(script(8080, address, 80));
      const stranger = world.host('stranger');
      t.equal(await stranger.connect(world.server.ipv4, 8080), 'open', 'without a knock');
      const finding = await diagnosis(world, 'forwarded-past-guard');
      t.match(finding, {
        severity: 'broken',
        what: /^table ip [\w-]+, chain [\w-]+ forwards 8080\/tcp \(web\) to 10\.78\.0\.2:80, past the guard$/,
        mend: `"hook": "prerouting"  in ${world.configFile}`,
      });
      await follow(world, finding);
      t.equal(await stranger.connect(world.server.ipv4, 8080), 'silent');
      t.equal(await knockAndConnect(world, 'ipv4', 8080), 'open');
      t.strictSame(await complaints(world), []);
      t.notMatch(await ids(world), ['nothing-listens'], 'what is forwarded need not listen here');

      t.equal(await stranger.connect(address, 80), 'open', 'by its own address');
      const around = await diagnosis(world, 'reachable-around');
      t.match(around, {
        severity: 'note',
        what: 'the program behind 8080/tcp (web) can be reached at its own address, 10.78.0.2:80',
      });
      await follow(world, around);
      t.equal(await stranger.connect(address, 80), 'silent');
      t.equal(await knockAndConnect(world, 'ipv4', 8080), 'open', 'but the published port is there');
      t.notMatch(await ids(world), ['reachable-around']);
      t.strictSame(await complaints(world), []);
    },
  );

t.test('a guarded port that is redirected within this host is not guarded either', needs, async t => {
  const world = await serving(t, { services: { web: { ...ssh, ports: [80] } } });
  await world.host('server').listen(8080);
  await world.nft(
    'table inet redirecting {\n chain pre {\n type nat hook prerouting priority dstnat\n tcp dport 80 redirect to :8080\n }\n }',
  );
  for (const family of families)
    t.equal(await world.host('client').connect(world.server[family], 80), 'open');
  const finding = await diagnosis(world, 'forwarded-past-guard');
  t.match(
    finding.what,
    'table inet redirecting, chain pre forwards 80/tcp (web) to port 8080, past the guard',
  );
  await follow(world, finding);
  for (const family of families) {
    t.equal(await world.host('client').connect(world.server[family], 80), 'silent');
    t.equal(await knockAndConnect(world, family, 80), 'open');
  }
  t.strictSame(await complaints(world), []);
});

t.test('a port that is redirected to a guarded one goes around a guard at prerouting', needs, async t => {
  const ports = [22, '8000-8010/tcp'];
  const world = await serving(
    t,
    { hook: 'prerouting', services: { ssh: { ...ssh, ports } } },
    { clients: ['client', 'stranger'] },
  );
  await world.nft(`table inet redirecting {
	chain pre {
		type nat hook prerouting priority dstnat
		tcp dport { 2200-2210, 222 } redirect to :22
		tcp dport 8080 redirect to :80
		udp dport 5353 redirect to :22
	}
	chain input { # as ufw has it
		type filter hook input priority 0
		ip6 daddr fe80::/10 udp sport 547 udp dport 546 accept
		udp dport 547 ip6 saddr fe80::/10 accept
	}
}`);
  for (const family of families)
    t.equal(await world.host('client').connect(world.server[family], 2205), 'open', 'without a knock');
  const finding = await diagnosis(world, 'redirected-around');
  t.match(finding, {
    severity: 'broken',
    what: 'table inet redirecting, chain pre redirects 222/tcp and 2200-2210/tcp to 22/tcp (ssh), past the guard',
    mend: `"222/tcp", "2200-2210/tcp" too in services.ssh.ports  in ${world.configFile}`,
  });
  const mended = { ...ssh, ports: [...ports, '222/tcp', '2200-2210/tcp'] };
  await load(world, { hook: 'prerouting', services: { ssh: mended } });
  for (const family of families) {
    t.equal(await world.host('client').connect(world.server[family], 2205), 'silent');
    t.equal(await knockAndConnect(world, family, 2205), 'open');
  }
  t.strictSame(await complaints(world), []);
  await load(world, { services: { ssh } });
  t.equal(
    await world.host('stranger').connect(world.server.ipv4, 222),
    'silent',
    'at input there is no way around',
  );
  t.strictSame(await complaints(world), []);
});

t.test('ports that are redirected by some of their bits are all named', needs, async t => {
  const hook = 'prerouting';
  const world = await serving(t, { hook, services: { ssh } }, { clients: ['client', 'stranger'] });
  for (const [index, port] of ['tcp dport', 'meta l4proto tcp ct original proto-dst'].entries()) {
    await world.nft(`table inet bits${index} {
	chain pre {
		type nat hook prerouting priority dstnat
		${port} & 4095 == ${1100 + index} redirect to :22
	}
}`);
    const others = Array.from({ length: 16 }, (_, high) => `${high * 4096 + 1100 + index}/tcp`);
    const [, , last = ''] = others;
    t.equal(await world.host('stranger').connect(world.server.ipv4, Number.parseInt(last, 10)), 'open');
    t.match(await diagnosis(world, 'redirected-around'), {
      mend: `${others.map(it => JSON.stringify(it)).join(', ')} too in services.ssh.ports  in ${world.configFile}`,
    });
    await load(world, { hook, services: { ssh: { ...ssh, ports: [22, ...others] } } });
    t.equal(await world.host('stranger').connect(world.server.ipv4, Number.parseInt(last, 10)), 'silent');
    t.strictSame(await complaints(world), []);
    await world.nft(`delete table inet bits${index}`);
    await load(world, { hook, services: { ssh } });
  }
});

t.test('a knock that is forwarded never comes to us', needs, async t => {
  const world = await serving(t, guarded, { container: true });
  await world.publish(2345, 80);
  t.equal(await knockAndConnect(world, 'ipv4'), 'silent');
  const { findings } = await examine(world);
  t.match(
    findings.find(({ id }) => id === 'knocks-forwarded'),
    {
      severity: 'broken',
      what: 'table inet published, chain prerouting forwards services.ssh.sequence: knock 2 before our table',
    },
  );
  t.notMatch(JSON.stringify(findings), /2345/);
});

t.test(
  'a guarded port without connection tracking is reported, but its sessions to this host go on',
  needs,
  async t => {
    const world = await serving(t, { services: { ssh: { ...ssh, openFor: '1s' } } });
    await world.nft(`table inet raw {
	chain prerouting {
		type filter hook prerouting priority raw;
		tcp dport { 22, 80 } notrack
	}
	chain output {
		type filter hook output priority raw;
		tcp sport { 22, 80 } notrack
	}
}`);
    const survives = async () => {
      await world.host('client').knock(world.server.ipv4, sshKnocks);
      const session = await world.host('client').open(world.server.ipv4, 22);
      await new Promise(resolve => setTimeout(resolve, 1200));
      return session.send('still there?', 1500);
    };
    t.equal(await survives(), 'alive');
    const { findings } = await examine(world);
    const untracked = findings.filter(({ id }) => id === 'untracked');
    t.match(untracked, [
      {
        severity: 'broken',
        what: 'table inet raw, chain prerouting exempts 22/tcp (ssh) from connection tracking',
      },
      {
        severity: 'broken',
        what: 'table inet raw, chain output exempts 22/tcp (ssh) from connection tracking',
      },
    ]);
    for (const finding of untracked) await follow(world, finding);
    t.equal(await survives(), 'alive');
    t.strictSame(await complaints(world), []);
  },
);

/** How a firewall of others ends for what it does not let in, and what then fits. */
const ENDS = [
  ['drop', 'drop', 'the ports beside it do not answer'],
  ['reject with tcp reset', 'reject', 'the ports beside it answer that they are closed'],
  ['reject with icmpx admin-prohibited', 'prohibited', 'the ports beside it answer that they are prohibited'],
  ['drop', 'drop', 'the ports beside it do not answer'],
  [
    'meta nfproto ipv4 reject with icmp admin-prohibited\nreject with icmpv6 admin-prohibited',
    'prohibited',
    'the ports beside it answer that they are prohibited',
  ],
] as const;

t.test('guarded ports look like those beside them, whatever those show', needs, async t => {
  const firewall = (end: string) => `table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport 22 accept
		${end}
	}
}`;
  const world = await serving(t, { ...guarded, closed: 'reject' });
  const looks = async () =>
    Promise.all(
      families.flatMap(family =>
        [21, 22, 23].map(port =>
          world.host('client').probe({ protocol: 'tcp', to: world.server[family], port }),
        ),
      ),
    );
  const alike = async (what: string) => {
    const seen = await looks();
    t.equal(new Set(seen).size, 1, `${what}: ${seen}`);
    t.notMatch(await ids(world), ['stands-out'], what);
  };
  const warning = async () => (await world.knockd(['status', '--json'])).stderr;
  await alike('no firewall');
  t.equal(await warning(), '');
  let closed = 'reject';
  for (const [end, fits, beside] of ENDS) {
    await world.nft(firewall(end));
    t.equal(new Set(await looks()).size, 2, `${closed} beside ${end}`);
    const finding = await diagnosis(world, 'stands-out');
    t.match(finding, {
      severity: 'risk',
      what: `"closed": "${closed}" of ssh: ${beside} (table inet filter, chain input)`,
      mend: `"closed": "${fits}"  in services.ssh in ${world.configFile}`,
    });
    t.equal(await warning(), `${world.configFile}: warning: ${finding.what}\n`);
    await follow(world, finding);
    await alike(`${fits} beside ${end}`);
    t.equal(await warning(), '');
    await world.nft('delete table inet filter');
    closed = fits;
  }
  await load(world, guarded);
  const answering = await diagnosis(world, 'stands-out');
  t.match(answering, {
    severity: 'note',
    what: '"closed": "drop" of ssh: the ports beside it answer that they are closed (this host)',
  });
  t.equal(await warning(), '', 'status warns of other tables only');
  await follow(world, answering);
  await alike('without a firewall, mended');

  await load(world, { ...guarded, policy: 'drop', closed: 'reject' });
  t.match((await diagnosis(world, 'stands-out')).what, '("policy": "drop")');
});

t.test(
  'if no value of "closed" fits, the nearest one stays, and so does one that was chosen',
  needs,
  async t => {
    const world = await serving(t);
    await world.nft(
      'table inet f {\n chain i {\n type filter hook input priority 1\n tcp dport 22 accept\n meta l4proto tcp reject\n }\n }',
    );
    const finding = await diagnosis(world, 'stands-out');
    t.match(finding, { what: / by ICMP /, mend: /^"closed": "prohibited" / });
    await follow(world, finding);
    t.notMatch(await ids(world), ['stands-out']);
    const mixed = { ...ssh, ports: [22, '22/udp'] };
    await load(world, { closed: 'reject', services: { ssh: mixed } });
    const before = await ids(world);
    t.notMatch(before, ['stands-out'], 'TCP wants one and UDP another: no value is better for both');
  },
);

t.test('listeners and their addresses are compared with guarded ports and knocks', needs, async t => {
  const world = await loadedWorld(t, {
    services: { ssh, web: { ...ssh, ports: ['8000-8010/tcp'], sequence: [4000, '5000/udp', 6000] } },
  });
  const about = async (id: string) =>
    (await examine(world)).findings.filter(it => it.id === id).map(({ what }) => what);
  t.strictSame(await about('nothing-listens'), ['nothing listens on 22/tcp (ssh) and 8000-8010/tcp (web)']);
  const server = world.host('server');
  const inside = await server.listen(22, { address: '127.0.0.1' });
  await server.listen(8005);
  t.strictSame(await about('nothing-listens'), [
    'only this host itself can reach what listens on 22/tcp (ssh)',
  ]);
  await inside.close();
  await server.listen(22, { address: '0.0.0.0' });
  t.strictSame(await about('nothing-listens'), []);

  t.strictSame(await about('knock-port-in-use'), []);
  await server.listen(10000, { address: '127.0.0.1' });
  await server.listen(5000);
  t.strictSame(await about('knock-port-in-use'), [], 'loopback, another protocol');
  await server.listen(3456);
  await server.listen(5000, { protocol: 'udp' });
  t.strictSame(await about('knock-port-in-use'), [
    'a program listens on the port of services.ssh.sequence: knock 3 and services.web.sequence: knock 2',
  ]);
  t.notMatch(JSON.stringify(await examine(world)), /3456|5000|"2345/);

  t.strictSame(await about('knock-port-ephemeral'), []);
  await world.run('server', 'sysctl', ['-w', 'net.ipv4.ip_local_port_range=9000 11000']);
  t.strictSame(
    await about('knock-port-ephemeral'),
    [
      'services.ssh.sequence: knock 1: the port is one that the kernel gives to programs (9000 to 11000)',
    ].slice(1),
    'the one that is in use is told as such',
  );
});

/** A server whose eth0 is one of these, and who names what nothing comes in by. */
const ASTRAY: readonly {
  readonly named: readonly string[];
  readonly setup?: readonly (readonly string[])[];
  readonly told: RegExp;
  readonly mend: readonly string[];
}[] = [
  { named: ['enp3s0'], told: /there is no interface "enp3s0"/, mend: ['eth0'] },
  { named: ['wan*', 'ppp0'], told: /"wan\*"[\s\S]*"ppp0"/, mend: ['eth0'] },
  { named: ['lo'], told: /"lo" is the loopback/, mend: ['eth0'] },
  {
    named: ['enp1s0'],
    setup: [['link', 'property', 'add', 'dev', 'eth0', 'altname', 'enp1s0']],
    told: /"enp1s0" is another name of eth0/,
    mend: ['eth0'],
  },
  {
    named: ['eth0'],
    setup: [
      ['link', 'add', 'br0', 'type', 'bridge'],
      ['link', 'set', 'br0', 'up'],
      ['link', 'set', 'eth0', 'master', 'br0'],
      ['addr', 'flush', 'dev', 'eth0'],
      ['addr', 'add', '10.77.0.1/24', 'dev', 'br0'],
      ['route', 'add', 'default', 'via', '10.77.0.2'],
    ],
    told: /"eth0" is a port of a bridge: packets come in by "br0"/,
    mend: ['br0'],
  },
];

for (const { named, setup = [], told, mend } of ASTRAY)
  t.test(`interfaces ${named.join(', ')}: nothing is guarded, and everybody says so`, needs, async t => {
    const world = await createWorld(t);
    for (const words of setup) {
      const { status, stderr } = await world.run('server', 'ip', words);
      if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
    }
    await world.host('server').listen(22);
    world.write({ ...guarded, interfaces: named });
    const nothing = `${world.configFile}: warning: "interfaces": no packet comes in by any of these interfaces at present: NOTHING IS GUARDED`;
    for (const command of ['check', 'load', 'status']) {
      const { status, stderr } = await world.knockd([command]);
      t.equal(status, 0, command);
      t.equal(stderr.split('\n')[0], nothing, command);
      t.match(stderr, told, command);
    }
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open', 'and so it is');
    const finding = await diagnosis(world, 'no-interface');
    t.match(finding, {
      severity: 'broken',
      what: told,
      mend: `"interfaces": ${JSON.stringify(mend).replaceAll(',', ', ')}  in ${world.configFile}`,
    });
    t.equal((await examine(world)).status, 1);
    await follow(world, finding);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
    t.strictSame(await complaints(world), []);
    for (const command of ['check', 'load', 'status'])
      t.notMatch((await world.knockd([command])).stderr, /interfaces/, command);
  });

t.test('an interface that may come later is a warning, and guarded ports stay guarded', needs, async t => {
  const world = await serving(t, { ...guarded, interfaces: ['eth*', 'wan0'] });
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  t.strictSame(await complaints(world), []);
  const absent = await diagnosis(world, 'interface-absent');
  t.match(absent, { severity: 'note', what: /there is no interface "wan0"/ });
  t.match((await world.knockd(['load'])).stderr, /warning: "interfaces": there is no interface "wan0"/);
  await follow(world, absent);
  t.notMatch(await ids(world), ['interface-absent']);
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
});

t.test('settings of the kernel', needs, async t => {
  const world = await serving(t);
  t.notMatch(await ids(world), ['fwmark-reflect']);
  const set = await world.run('server', 'sysctl', [
    '-w',
    'net.ipv4.fwmark_reflect=1',
    'net.ipv6.fwmark_reflect=1',
  ]);
  t.equal(set.status, 0, set.stderr);
  const finding = await diagnosis(world, 'fwmark-reflect');
  t.match(finding, { severity: 'note', what: 'net.ipv4.fwmark_reflect and net.ipv6.fwmark_reflect are on' });
  await follow(world, finding);
  t.notMatch(await ids(world), ['fwmark-reflect']);
});

t.test('asking leaves nothing behind, and nobody notices', needs, async t => {
  const world = await serving(t);
  const before = await world.run('server', 'nft', ['-a', 'list', 'ruleset']);
  const monitor = world.start('server', 'nft', ['monitor']);
  await examine(world);
  await examine(world);
  t.equal((await world.run('server', 'nft', ['-a', 'list', 'ruleset'])).stdout, before.stdout);
  await world.nft('add table inet witness');
  await monitor.line(/witness/);
  t.notMatch(monitor.lines().join('\n'), 'knockd', 'the first event is the witness');
  await monitor.stop('SIGKILL');
});
