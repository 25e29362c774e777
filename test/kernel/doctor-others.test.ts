/** `doctor` among rulesets as they are found: what it says is what real packets see, and what it says to do helps. */
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { complaints, diagnosis, follow, ids, knockAndConnect } from '../doctor/patient.ts';
import { families, loadedWorld, ssh, sshKnocks } from './loaded.ts';
import { environment } from './process.ts';
import { missing, type World, type WorldOptions } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const withIptables = { skip: needs.skip || (hasIptables() ? false : 'iptables-nft is not installed') };

function hasIptables(): boolean {
  return spawnSync('iptables-nft', ['-V'], { env: environment }).status === 0;
}

const guarded = { services: { ssh } };

/** A loaded server with a program on the guarded port. */
async function serving(t: Test, config: object = guarded, options: WorldOptions = {}): Promise<World> {
  const world = await loadedWorld(t, config, options);
  await world.host('server').listen(22);
  return world;
}

async function iptables(world: World, family: 'iptables' | 'ip6tables', rules: string): Promise<void> {
  const { status, stderr } = await world.run('server', `${family}-nft-restore`, [], { input: rules });
  if (status !== 0) throw new Error(`${family}-nft-restore: ${stderr}`);
}

/** Words that differ between the families. */
function inFamily(line: string, command: 'iptables' | 'ip6tables'): string {
  const [range, hops] =
    command === 'iptables'
      ? ['192.0.2.1-192.0.2.9', 'ttl --ttl-lt']
      : ['2001:db8::1-2001:db8::9', 'hl --hl-lt'];
  const line6 = '-A INPUT -m rt --rt-type 0 -j DROP\n';
  return `${command === 'iptables' ? '' : line6}${line.replaceAll('RANGE', range).replaceAll('HOPS', hops)}`;
}

/** Commands of tools that are not installed here, as small shell scripts that do with the ruleset what those do. */
async function pretend(world: World, name: string, script: string): Promise<void> {
  const path = `/run/${name}`;
  const made = await world.run('server', 'sh', [
    '-c',
    `printf '%s' "$0" >${path} && chmod 755 ${path}`,
    `#!/bin/sh\n${script}`,
  ]);
  if (made.status !== 0) throw new Error(made.stderr);
}

/** nft's own example, which Debian ships as /etc/nftables.conf. */
const DEBIAN = `flush ruleset
table inet filter {
	chain input {
		type filter hook input priority filter;
	}
	chain forward {
		type filter hook forward priority filter;
	}
	chain output {
		type filter hook output priority filter;
	}
}`;

/** The usual small firewall of articles and wikis; `%s` is what it lets in. */
const workstation = (rules: string, policy = 'drop') => `table inet filter {
	set blackhole { type ipv4_addr; flags timeout; elements = { 192.0.2.66 timeout 1h }; }
	chain input {
		type filter hook input priority filter; policy ${policy};
		ct state vmap { established : accept, related : accept, invalid : drop }
		iif lo accept
		ip saddr @blackhole drop
		meta l4proto { icmp, ipv6-icmp } accept
		${rules}
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}`;

t.test('a host without another firewall, or with one that lets ssh in, is healthy', needs, async t => {
  const world = await serving(t, guarded, { clients: ['client'] });
  t.strictSame(await complaints(world), [], 'no other table');
  for (const [name, script] of [
    ["Debian's default", DEBIAN.replace('flush ruleset\n', '')],
    ['a port', workstation('tcp dport 22 accept')],
    ['a set of ports, new connections only', workstation('ct state new tcp dport { 22, 80, 443 } accept')],
    ['a range, with a limit', workstation('tcp dport 20-25 ct state new limit rate 15/minute accept')],
    ['a map', workstation('tcp dport vmap { 22 : accept, 23 : drop }')],
    ['on the interface that leads out', workstation('iifname "eth0" tcp dport ssh accept')],
    ['a meter against too many', workstation('tcp dport 22 ct count over 50 drop\n tcp dport 22 accept')],
    ['strangers are welcome, other ports not', workstation('tcp dport != 22 reject', 'accept')],
  ] as const) {
    await world.nft(script);
    t.strictSame(await complaints(world), [], name);
    for (const family of families)
      t.equal(await knockAndConnect(world, family), 'open', `${name}, ${family}`);
    await world.nft('delete table inet filter');
  }
});

t.test('a firewall that drops what we accept is named, and the command lets clients in', needs, async t => {
  const world = await serving(t);
  for (const [name, script, chain] of [
    ['by its policy', workstation('tcp dport 443 accept'), 'inet filter input'],
    ['by its last rule', workstation('tcp dport 443 accept\n counter drop', 'accept'), 'inet filter input'],
    ['by rejecting', workstation('reject with icmpx admin-prohibited', 'accept'), 'inet filter input'],
    [
      'in a chain of its own',
      `table inet filter {
	chain services {
		tcp dport { 80, 443 } accept
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		iif lo accept
		meta l4proto ipv6-icmp accept
		jump services
		goto refuse
	}
	chain refuse {
		limit rate 5/second log prefix "refused "
		drop
	}
}`,
      'inet filter input',
    ],
    [
      'before routing',
      `table inet filter {
	chain early {
		type filter hook prerouting priority raw; policy accept;
		iif eth0 tcp dport 22 drop
	}
}`,
      'inet filter early',
    ],
  ] as const) {
    await world.nft(script);
    for (const family of families) t.not(await knockAndConnect(world, family), 'open', `${name}, ${family}`);
    const finding = await diagnosis(world, 'clients-dropped');
    t.match(
      finding,
      { severity: 'broken', what: /^table inet filter, chain \w+ (drop|reject)s 22\/tcp \(ssh\)$/ },
      name,
    );
    t.equal(finding.mend, `nft insert rule ${chain} tcp dport 22 accept`);
    await follow(world, finding);
    t.strictSame(await complaints(world), [], `${name}: mended`);
    for (const family of families)
      t.equal(await knockAndConnect(world, family), 'open', `${name}: mended, ${family}`);
    await world.nft('delete table inet filter');
  }
});

t.test('several ports are let in by one command for each protocol', needs, async t => {
  const ports = [80, 443, '8000-8010/tcp', '53/udp'];
  const world = await serving(t, { services: { ssh, web: { ...ssh, ports, sequence: [4000, 5000, 6000] } } });
  await world.nft(workstation('tcp dport { 22, 8000 } accept'));
  const finding = await diagnosis(world, 'clients-dropped');
  t.match(finding.what, 'drops 80/tcp (web), 443/tcp (web), 8000-8010/tcp (web) and 53/udp (web)');
  t.equal(
    finding.mend,
    'nft insert rule inet filter input tcp dport { 80, 443, 8000-8010 } accept && nft insert rule inet filter input udp dport 53 accept',
  );
  await world.host('server').listen(8005);
  await world.host('server').listen(53, { protocol: 'udp' });
  const seen = async () => {
    await world.host('client').knock(world.server.ipv4, ['4000/tcp', '5000/tcp', '6000/tcp']);
    return [
      await world.host('client').connect(world.server.ipv4, 8005),
      await world.host('client').udp(world.server.ipv4, 53, 'question'),
    ];
  };
  t.strictSame(await seen(), ['silent', 'silent']);
  await follow(world, finding);
  t.strictSame(await seen(), ['open', 'question']);
  t.notMatch(await ids(world), ['clients-dropped']);
});

t.test('a family that is dropped alone is a risk, and is named', needs, async t => {
  const world = await serving(t);
  await world.nft(
    'table ip6 v6 {\n chain in {\n type filter hook input priority 5; policy drop;\n icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n }\n }',
  );
  t.equal(await knockAndConnect(world, 'ipv4'), 'open');
  t.equal(await knockAndConnect(world, 'ipv6'), 'silent');
  const finding = await diagnosis(world, 'clients-dropped');
  t.match(finding, { severity: 'risk', what: 'table ip6 v6, chain in drops 22/tcp (ssh) over IPv6' });
  await follow(world, finding);
  t.equal(await knockAndConnect(world, 'ipv6'), 'open');
  t.strictSame(await complaints(world), []);
});

t.test(
  'a rule that lets clients in only from somewhere is a note; lists of the banned and limits are none',
  needs,
  async t => {
    const world = await serving(t);
    await world.nft(workstation('ip saddr 198.51.100.0/24 tcp dport 22 accept'));
    t.match(await diagnosis(world, 'clients-restricted'), {
      severity: 'note',
      what: 'table inet filter, chain input drops 22/tcp (ssh) for all but some clients',
    });
    t.match(await diagnosis(world, 'clients-dropped'), { severity: 'risk', what: /over IPv6$/ });
    await world.nft('delete table inet filter');
    await world.nft(`table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
		tcp dport 22 meter floods { ip saddr limit rate over 100/second burst 50 packets } drop
		fib saddr . iif oif missing drop
	}
}`);
    t.strictSame(await complaints(world), []);
    t.notMatch(await ids(world), ['clients-restricted']);
  },
);

const many = Array.from({ length: 3000 }, (_, index) => `198.18.${index >> 8}.${index & 255}`).join(', ');

/** Ways to keep one client out, as fail2ban, iptables and administrators do it; what is named, and what mends it. */
const BANS: readonly (readonly [what: string, script: string, named: RegExp, mend: string | RegExp])[] = [
  [
    'a small set of fail2ban',
    `table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; elements = { 192.0.2.1, CLIENT }; }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
	}
}`,
    /table inet f2b-table, chain f2b-chain rejects it \(rule 1, by set addr-set-sshd\)/,
    'fail2ban-client set sshd unbanip CLIENT',
  ],
  [
    'a set of thousands',
    `table inet filter {
	set blocked { type ipv4_addr; elements = { ${many}, CLIENT }; }
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established accept
		ip saddr @blocked drop
	}
}`,
    /table inet filter, chain input drops it \(rule 2, by set blocked\)/,
    "nft delete element inet filter blocked '{ CLIENT }'",
  ],
  [
    'a network in a set of thousands of ranges',
    `table ip filter {
	set blocked { type ipv4_addr; flags interval; elements = { ${many}, 10.77.0.1-10.77.0.2 }; }
	chain input {
		type filter hook input priority filter; policy accept;
		jump bans
	}
	chain bans { ip saddr @blocked drop; }
}`,
    /table ip filter, chain input drops it \(rule 1 of chain bans, by set blocked\)/,
    /^nft -a list table ip filter {2}# /,
  ],
  [
    'a rule for one address',
    `table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		ip saddr CLIENT drop
	}
}`,
    /table inet filter, chain input drops it \(rule 1\)/,
    /^nft -a list table inet filter {2}# /,
  ],
];

for (const [what, script, named, mend] of BANS)
  t.test(`a client that is in and kept out by ${what} is named, with what keeps it out`, needs, async t => {
    const world = await serving(t, guarded, { clients: ['client', 'other'] });
    const { ipv4 } = world.client;
    t.equal(await knockAndConnect(world, 'ipv4'), 'open');
    await world.host('other').knock(world.server.ipv4, sshKnocks);
    t.strictSame(await complaints(world), []);
    await world.nft(script.replaceAll('CLIENT', ipv4));
    t.not(await knockAndConnect(world, 'ipv4'), 'open', 'it waits');
    t.equal(await world.host('other').connect(world.server.ipv4, 22), 'open', 'another one does not');
    const finding = await diagnosis(world, 'client-kept-out');
    t.equal(finding.severity, 'broken');
    t.match(finding.what, `${ipv4} is in, and `);
    t.match(finding.what, named);
    t.match(finding.mend, typeof mend === 'string' ? mend.replace('CLIENT', ipv4) : mend);
    t.strictSame((await complaints(world)).length, 1, 'and nothing else is said');
    await pretend(
      world,
      'fail2ban-client',
      'test "$1 $2 $3" = "set sshd unbanip" && nft delete element inet f2b-table addr-set-sshd "{ $4 }"',
    );
    if (finding.mend.startsWith('nft -a')) {
      // it says where to look: what it shows has the element, or the rule with its handle
      const shown = await world.run('server', 'sh', ['-c', finding.mend]);
      const [, handle] = new RegExp(`saddr ${ipv4} drop # handle (\\d+)`).exec(shown.stdout) ?? [];
      t.match(shown.stdout, handle ? ipv4 : '10.77.0.1-10.77.0.2');
      await world.nft(
        handle
          ? `delete rule inet filter input handle ${handle}`
          : 'delete element ip filter blocked { 10.77.0.1-10.77.0.2 }',
      );
    } else await follow(world, { ...finding, mend: `PATH=/run:$PATH; ${finding.mend}` });
    t.strictSame(await complaints(world), []);
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
  });

t.test('a client over IPv6, and a network by "prefix", are kept out alike', needs, async t => {
  const world = await serving(t, { ...guarded, prefix: { ipv6: 64 } });
  t.equal(await knockAndConnect(world, 'ipv6'), 'open');
  await world.nft(`table inet f2b-table {
	set addr6-set-sshd { type ipv6_addr; flags interval; elements = { fd77::/64 }; }
	chain f2b-chain {
		type filter hook input priority filter - 1;
		tcp dport 22 ip6 saddr @addr6-set-sshd drop
	}
}`);
  t.match(await diagnosis(world, 'client-kept-out'), {
    what: /^fd77::\/64 is in, /,
    mend: 'fail2ban-client set sshd unbanip fd77::/64',
  });
});

t.test("fail2ban's chains of iptables are understood, too", withIptables, async t => {
  const world = await serving(t);
  const { ipv4 } = world.client;
  t.equal(await knockAndConnect(world, 'ipv4'), 'open');
  await iptables(
    world,
    'iptables',
    `*filter
:INPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A f2b-sshd -s ${ipv4}/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
`,
  );
  t.not(await knockAndConnect(world, 'ipv4'), 'open');
  const finding = await diagnosis(world, 'client-kept-out');
  t.match(finding, {
    what: `${ipv4} is in, and table ip filter, chain INPUT rejects it (rule 1 of chain f2b-sshd)`,
    mend: `fail2ban-client set sshd unbanip ${ipv4}`,
  });
  await pretend(world, 'fail2ban-client', `iptables-nft -D f2b-sshd -s $4/32 -j REJECT`);
  await follow(world, { ...finding, mend: `PATH=/run:$PATH; ${finding.mend}` });
  t.equal(await knockAndConnect(world, 'ipv4'), 'open');
  t.strictSame(await complaints(world), []);
});

t.test('rules of iptables are read, and mended in its words', withIptables, async t => {
  const world = await serving(t);
  const rules = (line: string) => `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:REFUSE - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp -m comment --comment "the web" -m multiport --dports 80,443,8000:8010 -m conntrack --ctstate NEW -j ACCEPT
${line}
-A INPUT -j REFUSE
-A REFUSE -m limit --limit 3/min -j LOG --log-prefix "refused "
-A REFUSE -p tcp -j REJECT --reject-with tcp-reset
COMMIT
`;
  for (const command of ['iptables', 'ip6tables'] as const) await iptables(world, command, rules(''));
  for (const family of families) t.equal(await knockAndConnect(world, family), 'refused');
  const { findings } = JSON.parse((await world.knockd(['doctor', '--json'])).stdout);
  const dropped = findings.filter(({ id }: { id: string }) => id === 'clients-dropped');
  t.strictSame(
    dropped.map(({ mend }: { mend: string }) => mend),
    ['iptables -I INPUT -p tcp --dport 22 -j ACCEPT', 'ip6tables -I INPUT -p tcp --dport 22 -j ACCEPT'],
  );
  for (const finding of dropped) await follow(world, finding);
  for (const family of families) t.equal(await knockAndConnect(world, family), 'open');
  t.strictSame(await complaints(world), []);
  for (const line of [
    '-A INPUT -p tcp -m multiport --dports 21:23,80 -j ACCEPT',
    '-A INPUT -p tcp --syn -m state --state NEW -m tcp --dport 22 -j ACCEPT',
    '-A INPUT -p tcp -m tcp --sport 1024:65535 --dport 22 -m addrtype --dst-type LOCAL -j ACCEPT',
    '-A INPUT -p tcp -m tcp --dport 22 -m recent --name s --set\n-A INPUT -p tcp -m tcp --dport 22 -m recent --name s --update --seconds 9 --hitcount 20 -j DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT',
    '-A INPUT -p tcp --dport 22 -m connlimit --connlimit-above 50 -j DROP\n-A INPUT -p tcp --dport 22 -m hashlimit --hashlimit-upto 50/sec --hashlimit-name x -j ACCEPT',
    '-A INPUT -p tcp -m length --length 1:20 -j DROP\n-A INPUT -p tcp -m iprange --src-range RANGE -j DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT',
    '-A INPUT -p tcp -m HOPS 3 -j DROP\n-A INPUT -p tcp --dport 22 -m iprange ! --src-range RANGE -j ACCEPT',
    '-A INPUT ! -p udp -m pkttype --pkt-type unicast -m mark ! --mark 0x7 -m mac ! --mac-source 02:00:00:00:00:01 -j ACCEPT',
  ]) {
    for (const command of ['iptables', 'ip6tables'] as const)
      await iptables(world, command, rules(inFamily(line, command)));
    t.strictSame(await complaints(world), [], line);
    for (const family of families)
      t.equal(await knockAndConnect(world, family), 'open', `${line}, ${family}`);
  }
});

t.test('rules that doctor cannot understand are reported as such', withIptables, async t => {
  const world = await serving(t);
  const rule = (line: string) => `*filter\n:INPUT ACCEPT [0:0]\n${line}\nCOMMIT\n`;
  await iptables(world, 'iptables', rule('-A INPUT -p tcp --dport 22 -m u32 --u32 "4=0x1" -j DROP'));
  t.match(await diagnosis(world, 'clients-unknown'), {
    severity: 'note',
    what: 'whether table ip filter, chain INPUT lets clients in to 22/tcp (ssh) cannot be told',
    mend: 'nft list chain ip filter INPUT',
  });
  t.strictSame(await complaints(world), []);
  // no finding if it does not matter
  await iptables(world, 'iptables', rule('-A INPUT -p tcp --dport 22 -m u32 --u32 "4=0x1" -j ACCEPT'));
  t.notMatch(await ids(world), ['clients-unknown']);
});

/** After ufw 0.36: `ufw default deny; ufw allow 443/tcp; ufw limit 2222/tcp`. */
const ufw = (six: string) => `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
${['before-logging-input', 'before-input', 'after-input', 'after-logging-input', 'reject-input', 'track-input', 'not-local', 'user-input', 'user-limit', 'user-limit-accept', 'logging-deny', 'skip-to-policy-input'].map(name => `:ufw${six}-${name} - [0:0]`).join('\n')}
-A INPUT -j ufw${six}-before-logging-input
-A INPUT -j ufw${six}-before-input
-A INPUT -j ufw${six}-after-input
-A INPUT -j ufw${six}-after-logging-input
-A INPUT -j ufw${six}-reject-input
-A INPUT -j ufw${six}-track-input
-A ufw${six}-after-input -p udp -m udp --dport 137 -j ufw${six}-skip-to-policy-input
${six ? '' : `-A ufw-after-input -m addrtype --dst-type BROADCAST -j ufw-skip-to-policy-input\n`}-A ufw${six}-after-logging-input -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
-A ufw${six}-before-input -i lo -j ACCEPT
-A ufw${six}-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw${six}-before-input -m conntrack --ctstate INVALID -j ufw${six}-logging-deny
-A ufw${six}-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw${six}-before-input -p ${six ? 'ipv6-icmp' : 'icmp'} -j ACCEPT
-A ufw${six}-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw${six}-before-input -j ufw${six}-not-local
-A ufw${six}-before-input -j ufw${six}-user-input
-A ufw${six}-logging-deny -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j RETURN
-A ufw${six}-logging-deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
-A ufw${six}-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw${six}-not-local -m addrtype --dst-type MULTICAST -j RETURN
${six ? '' : '-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN\n'}-A ufw${six}-not-local -m limit --limit 3/min --limit-burst 10 -j ufw${six}-logging-deny
-A ufw${six}-not-local -j DROP
-A ufw${six}-skip-to-policy-input -j DROP
-A ufw${six}-user-input -p tcp -m tcp --dport 443 -j ACCEPT
-A ufw${six}-user-input -p tcp -m tcp --dport 2222 -m conntrack --ctstate NEW -m recent --set --name DEFAULT
-A ufw${six}-user-input -p tcp -m tcp --dport 2222 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 --name DEFAULT -j ufw${six}-user-limit
-A ufw${six}-user-input -p tcp -m tcp --dport 2222 -j ufw${six}-user-limit-accept
-A ufw${six}-user-limit -m limit --limit 3/min -j LOG --log-prefix "[UFW LIMIT BLOCK] "
-A ufw${six}-user-limit -j REJECT
-A ufw${six}-user-limit-accept -j ACCEPT
COMMIT
`;

t.test('the mend for ufw is in its own words, for both families at once', withIptables, async t => {
  const world = await serving(t, {
    services: { ssh, limited: { ...ssh, ports: [2222], sequence: [4000, 5000, 6000] } },
  });
  await world.host('server').listen(2222);
  await iptables(world, 'iptables', ufw(''));
  await iptables(world, 'ip6tables', ufw('6'));
  for (const family of families) t.equal(await knockAndConnect(world, family), 'silent');
  const finding = await diagnosis(world, 'clients-dropped');
  t.match(finding, {
    severity: 'broken',
    what: 'table ip filter, chain INPUT and table ip6 filter, chain INPUT drop 22/tcp (ssh)',
    mend: 'ufw allow 22/tcp',
  });
  await pretend(
    world,
    'ufw',
    `port=\${2%/tcp}
iptables-nft -A ufw-user-input -p tcp -m tcp --dport $port -j ACCEPT
ip6tables-nft -A ufw6-user-input -p tcp -m tcp --dport $port -j ACCEPT`,
  );
  await follow(world, { ...finding, mend: `PATH=/run:$PATH; ${finding.mend}` });
  for (const family of families) t.equal(await knockAndConnect(world, family), 'open');
  t.strictSame(await complaints(world), []);
});

t.test("Docker's DNAT by iptables, and its CT target, are understood", withIptables, async t => {
  const services = { web: { ...ssh, ports: [8080] }, ssh: { ...ssh, sequence: [4000, 5000, 6000] } };
  const world = await serving(t, { services }, { clients: ['client', 'stranger'], container: true });
  await world.host('container').listen(80);
  const nat = (target: string) => `*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 ${target}
COMMIT
`;
  const stranger = world.host('stranger');
  for (const [command, family, to] of [
    ['iptables', 'ipv4', '10.78.0.2:80'],
    ['ip6tables', 'ipv6', '[fd78::2]:80'],
  ] as const) {
    await iptables(world, command, nat(`-j DNAT --to-destination ${to}`));
    t.equal(await stranger.connect(world.server[family], 8080), 'open', 'without a knock');
    const { what } = await diagnosis(world, 'forwarded-past-guard');
    t.equal(
      what,
      `table ${command === 'iptables' ? 'ip' : 'ip6'} nat, chain PREROUTING forwards 8080/tcp (web) to ${to}, past the guard`,
    );
    await iptables(world, command, nat('-j REDIRECT --to-ports 22'));
    t.equal(await stranger.connect(world.server[family], 8080), 'silent', 'port 22 is guarded');
    t.match((await diagnosis(world, 'forwarded-past-guard')).what, ' to port 22, past the guard');
    await world.run('server', command, ['-t', 'nat', '-F']);
  }
  t.strictSame(await complaints(world), []);
  const raw = `*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m multiport --dports 22 -j CT --notrack\nCOMMIT\n`;
  await iptables(world, 'ip6tables', raw);
  const untracked = await diagnosis(world, 'untracked');
  t.equal(untracked.mend, 'ip6tables -t raw -I PREROUTING -p tcp --dport 22 -j ACCEPT');
  await follow(world, untracked);
  t.strictSame(await complaints(world), []);
});

/** After firewalld 2.3, with eth0 in the zone `work`, which lets dhcpv6-client in. */
const FIREWALLD = `table inet firewalld {
	chain mangle_PREROUTING {
		type filter hook prerouting priority mangle + 10; policy accept;
		jump mangle_PREROUTING_ZONES
	}
	chain mangle_PREROUTING_ZONES {
		iifname "eth0" goto mangle_PRE_work
	}
	chain mangle_PRE_work {
	}
	chain filter_PREROUTING {
		type filter hook prerouting priority filter + 10; policy accept;
		icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
		meta nfproto ipv6 fib saddr . mark . iif oif missing drop
	}
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_INPUT_ZONES {
		iifname "eth1" goto filter_IN_public
		iifname "eth0" goto filter_IN_work
		goto filter_IN_public
	}
	chain filter_IN_public {
		jump filter_IN_public_allow
		reject with icmpx admin-prohibited
	}
	chain filter_IN_public_allow {
		tcp dport 22 accept
	}
	chain filter_IN_work {
		jump filter_IN_work_pre
		jump filter_IN_work_allow
		meta l4proto { icmp, ipv6-icmp } accept
		reject with icmpx admin-prohibited
	}
	chain filter_IN_work_pre {
	}
	chain filter_IN_work_allow {
		ip6 daddr fe80::/64 udp dport 546 accept
	}
}`;

t.test('the mend for firewalld is in its own words, for the zone that clients come into', needs, async t => {
  const world = await serving(t);
  await world.nft(FIREWALLD);
  for (const family of families) t.not(await knockAndConnect(world, family), 'open');
  const finding = await diagnosis(world, 'clients-dropped');
  t.match(finding, {
    severity: 'broken',
    what: 'table inet firewalld, chain filter_INPUT rejects 22/tcp (ssh)',
    mend: 'firewall-cmd --permanent --zone=work --add-port=22/tcp && firewall-cmd --reload',
  });
  await pretend(
    world,
    'firewall-cmd',
    `case "$*" in "--permanent --zone=work --add-port=22/tcp")
nft add rule inet firewalld filter_IN_work_allow tcp dport 22 accept;; esac`,
  );
  await follow(world, { ...finding, mend: `PATH=/run:$PATH; ${finding.mend}` });
  for (const family of families) t.equal(await knockAndConnect(world, family), 'open');
  t.strictSame(await complaints(world), []);
});
