/** A guarded port stays shut, whatever rules and settings of others do with packets on their way to it. */
import t from 'tap';
import { ids } from '../doctor/patient.ts';
import { families, patient, until } from '../kernel/loaded.ts';
import { createTarget, needs, PORTS, SEQUENCES, type Target } from './target.ts';

const clients = ['client', 'stranger'];
const hooks = ['input', 'prerouting'] as const;

async function shell(target: Target, script: string): Promise<string> {
  const { status, stdout, stderr } = await target.run('server', 'sh', ['-ec', script]);
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout.trim();
}

/** The same with an end of line before each brace, as older versions of nft want it. */
const load = (target: Target, script: string) => target.nft(script.replaceAll('; }', '\n }'));

t.test('a port that others redirect to a guarded one is shut at input', needs, async t => {
  const target = await createTarget(t, { clients });
  await target.reload();
  await load(
    target,
    `table inet redirects {
  chain prerouting { type nat hook prerouting priority dstnat; tcp dport 2222 redirect to :22; tcp dport 2280 redirect to :80; }
}`,
  );
  const stranger = target.host('stranger');
  t.equal(await stranger.connect(target.server.ipv4, 2280), 'open', 'the control');
  t.equal(await stranger.connect(target.server.ipv4, 2222), 'silent');
  await target.host('client').knock(target.server.ipv4, SEQUENCES.ssh);
  t.equal(await target.host('client').connect(target.server.ipv4, 2222), 'open');
});

/** Whoever connects is an echo server's client: so the answer of a program shows that it was reached. */
const says = async (target: Target, host: string, to: string, port: number) => {
  const session = await target.host(host).open(to, port);
  return session.send('hello');
};

t.test(
  'a port that others rewrite to a guarded one is shut before the guard, and leads around it behind it',
  needs,
  async t => {
    const target = await createTarget(t, { clients });
    /** Both ways, since tracking knows nothing of it. Behind the guards is priority -100 at prerouting, and 0 at input. */
    const rewrites = (family: string, place: string) => `table ${family} rewrites {
  chain in { type filter hook ${place}; tcp dport 2222 tcp dport set 22; tcp dport 2280 tcp dport set 80; }
}
table inet answers {
  chain out { type filter hook output priority 0; tcp sport 22 tcp sport set 2222; tcp sport 80 tcp sport set 2280; }
}`;
    const wire = ['netdev', 'ingress device "eth0" priority 0', 'before'] as const;
    const early = ['inet', 'prerouting priority -300', 'before'] as const;
    for (const [hook, ...places] of [
      ['input', wire, early, ['inet', 'input priority 0', 'behind']],
      ['prerouting', wire, early, ['inet', 'prerouting priority -100', 'behind']],
    ] as const)
      for (const [family, place, where] of places) {
        await target.reload({ hook });
        await load(target, rewrites(family, place));
        const reach = (port: number, timeout: number) =>
          target.host('stranger').connect(target.server.ipv4, port, { timeout });
        t.equal(await reach(2280, 5000), 'open', `${hook}, ${place}: the control`);
        if (where === 'before') t.equal(await reach(2222, 400), 'silent', `${hook}, ${place}`);
        else t.equal(await reach(2222, 5000), 'open', `${hook}, ${place}: as docs/security.md says`);
        const reported = (await ids(target)).includes('redirected-around');
        t.equal(reported, where === 'behind', `${hook}, ${place}: doctor reports it if it matters`);
      }
  },
);

/** Each leads what strangers send to the loopback interface, which is never guarded. */
const OVER_LOOPBACK: Readonly<Record<string, string>> = {
  'tc, on the wire': `tc qdisc add dev eth0 clsact
tc filter add dev eth0 ingress protocol ip u32 match ip protocol 6 0xff action mirred ingress redirect dev lo`,
  'nft, on the wire': `nft -f - <<END
table netdev leads {
	chain in {
		type filter hook ingress device "eth0" priority 0
		meta l4proto tcp ether daddr set 00:00:00:00:00:00 fwd to "lo"
	}
}
END`,
  'nft, by a copy before the guards': `nft -f - <<END
table ip leads {
	chain in {
		type filter hook prerouting priority -200
		iif != "lo" meta l4proto tcp dup to 127.0.0.1 device "lo"
	}
}
END`,
};

t.test('what others lead over loopback needs no knock', needs, async t => {
  const target = await createTarget(t, { clients });
  await shell(
    target,
    'for interface in all lo eth0; do echo 0 >/proc/sys/net/ipv4/conf/$interface/rp_filter; done',
  );
  const reach = () => target.host('stranger').connect(target.server.ipv4, PORTS.tcp.drop, { timeout: 5000 });
  for (const [by, rules] of Object.entries(OVER_LOOPBACK)) {
    await target.reload();
    const { status, stderr } = await target.run('server', 'sh', ['-ec', rules]);
    if (status !== 0) t.pass(by, { skip: `not here: ${stderr.trim()}` });
    else t.equal(await reach(), 'open', `${by}: as docs/security.md says`);
    await target.run('server', 'tc', ['qdisc', 'del', 'dev', 'eth0', 'clsact']);
  }
});

/** The proxy listens on a guarded port of its own. The rules also lead another port to sshd, which is not transparent. */
const TPROXIES: Readonly<Record<string, string>> = {
  nft: `nft -f - <<END
table inet steer {
	chain prerouting {
		type filter hook prerouting priority mangle
		tcp dport 2222 tproxy to :2323 meta mark set 1 accept
		tcp dport 2322 tproxy to :22 meta mark set 1 accept
		tcp dport { 443, 2323 } tproxy to :2323 meta mark set 1 accept
		socket transparent 1 meta mark set 1 accept
	}
}
END`,
  ...Object.fromEntries(
    ['nft', 'legacy'].map(kind => [
      `iptables-${kind}`,
      ['iptables', 'ip6tables']
        .flatMap(name => {
          const append = `${name}-${kind} -t mangle -A PREROUTING -p tcp`;
          return [
            `${name}-${kind} -t mangle -F PREROUTING`,
            ...[
              [2222, 2323],
              [2322, 22],
              [443, 2323],
              [2323, 2323],
            ].map(([from, to]) => `${append} --dport ${from} -j TPROXY --on-port ${to} --tproxy-mark 1/1`),
            `${append} -m socket --transparent -j MARK --set-mark 1`,
          ];
        })
        .join('\n'),
    ]),
  ),
};

for (const [by, rules] of Object.entries(TPROXIES))
  t.test(
    `a TPROXY of ${by} leads around the guard of a proxy, and to no port that is guarded itself`,
    needs,
    async t => {
      const target = await createTarget(t, { clients });
      const tables = (name: string) => `${name} -t mangle -S`;
      const works = by === 'nft' ? 'which nft' : `${tables(by)} && ${tables(by.replace('ip', 'ip6'))}`;
      const { status } = await target.run('server', 'sh', ['-c', works]);
      if (status !== 0) return t.plan(0, `${by} does not work here`);
      await target.host('server').listen(2323, { transparent: true });
      // what is marked is for this host, whatever its address
      await shell(
        target,
        `for family in -4 -6; do ip $family rule add fwmark 1/1 lookup 100; ip $family route add local default dev lo table 100; done`,
      );
      const elsewhere = { ipv4: '198.18.0.7', ipv6: '2001:db8:7::7' } as const;
      for (const host of clients)
        for (const family of families)
          await target.run(host, 'ip', ['route', 'add', elsewhere[family], 'via', target.server[family]]);
      const knocks = ['1/tcp', '3/tcp', '5/tcp'];
      const proxy = (ports: readonly number[]) => ({
        proxy: { ports, sequence: [1, 3, 5], ...patient },
        ssh: { ports: [22], sequence: [2, 4, 6] },
      });
      for (const hook of by === 'nft' ? hooks : (['input'] as const)) {
        await target.reload({ hook, services: proxy([2323, 443]) });
        await shell(target, rules);
        const reach = (host: string, to: string, port: number) => target.host(host).connect(to, port);
        for (const family of families) {
          const [to, other] = [target.server[family], elsewhere[family]];
          const name = `${hook}, ${family}`;
          t.equal(await says(target, 'stranger', to, PORTS.tcp.open), 'alive', `${name}: the control`);
          t.equal(await says(target, 'stranger', to, 2222), 'alive', `${name}: as docs/security.md says`);
          t.not(await reach('stranger', to, 2322), 'open', `${name}: sshd is not transparent`);
          for (const port of [2323, 443])
            t.equal(await reach('stranger', to, port), 'silent', `${name}: ${port}`);
          t.equal(await reach('stranger', other, 443), 'silent', `${name}: 443 of another host`);
          await target.host('client').knock(to, knocks);
          for (const port of [2323, 443])
            t.equal(await says(target, 'client', to, port), 'alive', `${name}: ${port} for a client`);
          t.equal(
            await says(target, 'client', other, 443),
            'alive',
            `${name}: 443 of another host, for a client`,
          );
        }
        await target.reload({ hook, services: proxy([2323, 443, 2222]) });
        await shell(target, rules);
        for (const family of families)
          t.equal(
            await reach('stranger', target.server[family], 2222),
            'silent',
            `${hook}, ${family}: guarded, too`,
          );
      }
    },
  );

t.test('an address that only another routing table calls local is guarded', needs, async t => {
  const target = await createTarget(t, { clients });
  await shell(target, 'ip rule add pref 10 lookup 100; ip route add local 10.99.0.5 dev lo table 100');
  await target.run('stranger', 'ip', ['route', 'add', '10.99.0.5', 'via', target.server.ipv4]);
  const { open, drop, reject } = PORTS.udp;
  for (const hook of hooks) {
    await target.reload({ hook });
    await target
      .host('stranger')
      .send([drop, reject, open].map(port => ({ protocol: 'udp', to: '10.99.0.5', port, payload: 'x' })));
    const { ipv4: from } = target.addresses('stranger');
    const { passed } = await target.witnessed();
    t.ok(passed.has(`${from} 17 ${open}`), `${hook}: the control`);
    for (const port of [drop, reject]) t.notOk(passed.has(`${from} 17 ${port}`), `${hook}: ${port}`);
  }
  t.equal(await target.arrived(), 0);
});

/** Port 2121 is FTP, which another port is redirected to. A helper gives each port that it expects another number. */
const FTP = `table inet helpers {
  ct helper ftp { type "ftp" protocol tcp; }
  chain prerouting { type filter hook prerouting priority -160; tcp dport 2121 ct helper set "ftp"; }
  chain nat { type nat hook prerouting priority dstnat; tcp dport 2121 redirect to :21; }
}`;

t.test('a port that a helper expects and redirects leads to no guarded one', needs, async t => {
  const target = await createTarget(t, { clients });
  await target.host('server').listen(21);
  const client = target.host('client');
  /** Twice, since the first expectation keeps the number. */
  const expected = async (port: number) => {
    for (let time = 0; time < 2; time++) {
      const session = await client.open(target.server.ipv4, 2121);
      await session.send('hello\r\n');
      // the server echoes: the client chooses what it says
      await session.send(`227 Entering Passive Mode (10,77,0,1,0,${port})\r\n`);
    }
    const list = await shell(target, 'cat /proc/net/nf_conntrack_expect');
    const ports = [...list.matchAll(/dport=(\d+) ftp/g)].map(([, number]) => Number(number));
    const reached = await Promise.all(ports.map(port => client.connect(target.server.ipv4, port)));
    await shell(target, 'conntrack -F');
    return reached.filter(reach => reach === 'open').length;
  };
  for (const hook of hooks) {
    await target.reload({ hook });
    const loaded = await load(target, FTP).then(
      () => true,
      () => false,
    );
    if (!loaded) return t.plan(0, 'this kernel has no FTP helper (nf_conntrack_ftp, nf_nat_ftp)');
    t.equal(await expected(80), 2, `${hook}: the control`);
    t.equal(await expected(22), 0, hook);
  }
  t.equal(await target.arrived(), 0);
});

/** A call that names a port of the server for its media. RTP has even ports from 1024 on. */
function invite(target: Target, port: number, call: number): string {
  const [from, to] = [target.client.ipv4, target.server.ipv4];
  const body = [
    ...['v=0', `o=a 1 1 IN IP4 ${to}`, 's=-', `c=IN IP4 ${to}`, 't=0 0'],
    ...[`m=audio ${port} RTP/AVP 0`, ''],
  ].join('\r\n');
  return [
    `INVITE sip:b@${to} SIP/2.0`,
    `Via: SIP/2.0/UDP ${from};branch=z9hG4bK${call}`,
    ...[`From: <sip:a@${to}>;tag=${call}`, `To: <sip:b@${to}>`, `Call-ID: ${call}@a`],
    ...['CSeq: 1 INVITE', `Contact: <sip:a@${from}>`, 'Content-Type: application/sdp'],
    ...[`Content-Length: ${body.length}`, '', body],
  ].join('\r\n');
}

/** Counts what is expected at these ports. */
const sip = (ports: readonly number[]) => `table inet helpers {
  counter related { }
  ct helper sip { type "sip" protocol udp; }
  chain early { type filter hook prerouting priority -160; udp dport 5060 ct helper set "sip"; }
  chain late { type filter hook prerouting priority -155; udp dport { ${ports.join(', ')} } ct state related counter name related; }
}`;

/** Calls the server, which echoes: so the client chooses what the server says. Each call has a source port of its own. */
async function call(target: Target, ports: readonly number[]): Promise<void> {
  const calls = ports.map(
    (port, index) =>
      ({
        ...({ protocol: 'udp', to: target.server.ipv4, port: 5060, sourcePort: 5060 + index } as const),
        payload: invite(target, port, index),
      }) as const,
  );
  await target.host('client').send(calls);
  await until(
    () => shell(target, 'cat /proc/net/nf_conntrack_expect'),
    list => ports.every(port => list.includes(`dport=${port} `)),
  );
}

t.test('a call by SIP makes a guarded port expected, which does not open it', needs, async t => {
  const target = await createTarget(t);
  const [open, guarded] = [6000, 6002] as const;
  await target.host('server').listen(5060, { protocol: 'udp' });
  const client = target.host('client');
  const [from, to] = [target.client.ipv4, target.server.ipv4];
  for (const hook of hooks) {
    await target.reload({ hook, services: { media: { ports: [`${guarded}/udp`], sequence: [1, 3, 5] } } });
    const loaded = await load(target, sip([open, guarded])).then(
      () => true,
      () => false,
    );
    if (!loaded) return t.plan(0, 'this kernel has no SIP helper (nf_conntrack_sip)');
    await call(target, [open, guarded]);
    const media = { protocol: 'udp', to, sourcePort: 4000, payload: 'x' } as const;
    for (const port of [open, guarded, open, guarded]) await client.send([{ ...media, port }]);
    t.match(await target.list(), /counter related \{\s*packets [34] /, `${hook}: both were expected`);
    const { passed } = await target.witnessed();
    t.ok(passed.has(`${from} 17 ${open}`), `${hook}: the control`);
    t.notOk(passed.has(`${from} 17 ${guarded}`), hook);
  }
});

t.test(
  'calls by SIP make ports expected, among which nobody finds the knocks without a stray',
  needs,
  async t => {
    const target = await createTarget(t);
    await target.host('server').listen(5060, { protocol: 'udp' });
    const client = target.host('client');
    const [from, to] = [target.client.ipv4, target.server.ipv4];
    const sequence = ['6010/udp', '6020/udp', '6014/udp', '6030/udp'];
    const sweep = [6000, 6010, 6002, 6020, 6004, 6006, 6014, 6008, 6030, 6032];
    await target.reload({ services: { ssh: { ports: [22], sequence, ...patient } } });
    const loaded = await load(target, sip(sweep)).then(
      () => true,
      () => false,
    );
    if (!loaded) return t.plan(0, 'this kernel has no SIP helper (nf_conntrack_sip)');
    await call(target, sweep);
    await client.send(
      sweep.map(port => ({ protocol: 'udp', to, port, sourcePort: 4000, payload: 'x' }) as const),
    );
    t.match(await target.list(), /counter related \{\s*packets 10 /, 'all of them were expected');
    t.same(await target.inside(), []);
    await client.knock(to, sequence);
    t.same(await target.inside(), [`ssh ${from}`], 'the control');
  },
);

/** How SYNPROXY is put at hook input, at priority -20 or so for `early`. iptables has that in its table mangle. */
const SYNPROXIES: Readonly<Record<string, (early: boolean) => string>> = {
  nft: early => `nft -f - <<END
table inet proxy {
	chain prerouting {
		type filter hook prerouting priority raw
		tcp flags syn tcp dport { 22, 80 } notrack
	}
	chain input {
		type filter hook input priority ${early ? -20 : 'filter'}
		tcp dport { 22, 80 } ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
	}
}
END`,
  'iptables-nft': early => byIptables('nft', early),
  'iptables-legacy': early => byIptables('legacy', early),
};

function byIptables(kind: string, early: boolean): string {
  return ['iptables', 'ip6tables']
    .flatMap(name => {
      const command = `${name}-${kind}`;
      const tcp = '-p tcp -m multiport --dports 22,80';
      return [
        `${command} -t raw -F`,
        `${command} -t raw -A PREROUTING ${tcp} --syn -j CT --notrack`,
        ...['filter', 'mangle'].map(table => `${command} -t ${table} -F INPUT`),
        `${command} -t ${early ? 'mangle' : 'filter'} -A INPUT ${tcp} -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460`,
      ];
    })
    .join('\n');
}

for (const [by, rules] of Object.entries(SYNPROXIES))
  t.test(
    `a SYNPROXY of ${by} after the guards shields them, and before them it leads around them`,
    needs,
    async t => {
      const target = await createTarget(t, { clients });
      const tables = (name: string) => `${name} -t raw -S && ${name} -t mangle -S`;
      const works = by === 'nft' ? 'which nft' : `${tables(by)} && ${tables(by.replace('ip', 'ip6'))}`;
      const { status } = await target.run('server', 'sh', ['-c', works]);
      if (status !== 0) return t.plan(0, `${by} does not work here`);
      await shell(target, 'echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose');
      for (const to of [target.server.ipv4, target.server.ipv6]) {
        await target.reload();
        await shell(target, rules(false));
        t.equal(await says(target, 'stranger', to, PORTS.tcp.open), 'alive', `${to}: the control`);
        await t.rejects(target.host('stranger').open(to, PORTS.tcp.drop, { timeout: 400 }), /silent/, to);
        await target.host('client').knock(to, SEQUENCES.ssh);
        t.equal(await says(target, 'client', to, PORTS.tcp.drop), 'alive', to);
        await target.reload();
        await shell(target, rules(true));
        t.equal(
          await says(target, 'stranger', to, PORTS.tcp.drop),
          'alive',
          `${to}: as docs/security.md says`,
        );
      }
    },
  );
