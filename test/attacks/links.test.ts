/** Packets that come by other ways than plain Ethernet frames for this host: tagged, bridged, in a tunnel. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { until } from '../kernel/loaded.ts';
import type { AddressedPacket } from '../kernel/packet.ts';
import { asProtocol, datagram, frame, macOf, NUMBER as NUMBERS, plain } from './frames.ts';
import { CONFIGS, createTarget, needs, PORTS, SEQUENCES, type Target } from './target.ts';

async function shell(target: Target, script: string): Promise<string> {
  const { status, stdout, stderr } = await target.run('server', 'sh', ['-ec', script]);
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout.trim();
}

const NUMBER = { tcp: 6, udp: 17 } as const;

t.test('tagged frames are guarded, and frames for a VLAN that is not here do nothing', needs, async t => {
  const target = await createTarget(t);
  await target.reload();
  const send = (from: string, port: number, vlan: number) =>
    target.host('client').frames([
      frame(plain({ protocol: 'tcp', to: target.server.ipv4, from, port, sourcePort: 1 }), {
        to: target.macs.server,
        from: target.macs.client,
        vlan,
      }),
    ]);
  for (const port of [PORTS.tcp.open, PORTS.tcp.drop]) {
    await send('198.18.0.1', port, 0);
    await send('198.18.0.2', port, 5);
  }
  for (const knock of SEQUENCES.ssh) {
    await send('198.18.0.1', Number.parseInt(knock, 10), 0);
    await send('198.18.0.2', Number.parseInt(knock, 10), 5);
  }
  t.same(await target.inside(), ['ssh 198.18.0.1'], 'priority alone, tag 0, is no other network');
  const { passed } = await target.witnessed();
  t.ok(passed.has('198.18.0.1 6 80'), 'the control');
  t.notOk(passed.has('198.18.0.1 6 22'));
  t.same(
    [...passed].filter(it => it.startsWith('198.18.0.2')),
    [],
  );
});

t.test('a packet out of a tunnel is guarded like any other', needs, async t => {
  const target = await createTarget(t);
  await target.reload();
  const mac = await shell(
    target,
    `ip link add vx0 type vxlan id 7 local ${target.server.ipv4} dstport 4789 dev eth0
     ip link set vx0 up
     ip addr add 10.99.0.1/24 dev vx0
     cat /sys/class/net/vx0/address`,
  );
  const vxlan = Buffer.from([8, 0, 0, 0, 0, 0, 7, 0]);
  const send = async (
    ports: readonly number[],
    { protocol = 'tcp', to = '10.99.0.1', from = '10.99.0.9' } = {},
  ) =>
    target.host('client').frames(
      ports.map(port => {
        const inner = plain({ protocol, to, from, port, sourcePort: 1000 } as AddressedPacket);
        const within = frame(inner, { to: macOf(mac), from: macOf('02:00:00:00:00:09') });
        const [server, client] = [target.server.ipv4, target.client.ipv4];
        const outer = { protocol: 'udp', to: server, from: client, port: 4789, sourcePort: 4789 } as const;
        return frame(datagram(outer, Buffer.concat([vxlan, within])), {
          to: target.macs.server,
          from: target.macs.client,
        });
      }),
    );
  for (const to of ['10.99.0.1', target.server.ipv4])
    for (const protocol of ['tcp', 'udp'] as const) {
      const { open, drop, reject } = PORTS[protocol];
      const from = `10.99.0.${to === '10.99.0.1' ? 9 : 10}`;
      await send([open, drop, reject], { protocol, to, from });
      const passed = (await target.witnessed()).passed;
      const through = [open, drop, reject].filter(port => passed.has(`${from} ${NUMBER[protocol]} ${port}`));
      t.same(through, [open], `${protocol} to ${to}`);
    }
  await send(SEQUENCES.ssh.map(knock => Number.parseInt(knock, 10)));
  t.same(await target.inside(), ['ssh 10.99.0.9'], 'a knock counts for its sender, not for the tunnel');
  t.equal(await target.arrived(), 0);
});

t.test(
  'an address of another link, and of loopback, is guarded when packets come by the wire',
  needs,
  async t => {
    const target = await createTarget(t);
    await shell(
      target,
      `for interface in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$interface/route_localnet; done
     ip link add mv0 link eth0 type macvlan mode bridge
     ip addr add 10.99.0.1/24 dev mv0
     ip link set mv0 up`,
    );
    const mv0 = macOf(await shell(target, 'cat /sys/class/net/mv0/address'));
    for (const hook of ['input', 'prerouting'] as const) {
      await target.reload({ hook });
      for (const [to, mac, from] of [
        ['10.99.0.1', mv0, '10.99.0.9'],
        ['127.0.0.1', target.macs.server, '198.18.0.1'],
      ] as const)
        for (const protocol of ['tcp', 'udp'] as const) {
          const { open, drop, reject } = PORTS[protocol];
          const frames = [drop, reject, open].map(port =>
            frame(plain({ protocol, to, from, port, sourcePort: 1000 }), {
              to: mac,
              from: target.macs.client,
            }),
          );
          await target.host('client').frames(frames);
          const { passed } = await until(
            () => target.witnessed(),
            ({ passed }) => passed.has(`${from} ${NUMBER[protocol]} ${open}`),
          );
          for (const port of [drop, reject])
            t.notOk(
              passed.has(`${from} ${NUMBER[protocol]} ${port}`),
              `${hook}: ${protocol} ${port} to ${to}`,
            );
        }
    }
    t.equal(await target.arrived(), 0);
  },
);

t.test('a TCP packet that SRv6 unwraps is guarded at input', needs, async t => {
  const target = await createTarget(t);
  const { ipv6: to } = target.server;
  const endpoint = `for file in /proc/sys/net/ipv6/conf/*/seg6_enabled; do echo 1 >$file; done
ip -6 route add fd99::1/128 encap seg6local action End.DT6 table 255 dev eth0`;
  const { status } = await target.run('server', 'sh', ['-ec', endpoint]);
  if (status !== 0) return t.plan(0, 'this kernel has no SRv6 (CONFIG_IPV6_SEG6_LWTUNNEL)');
  await target.reload();
  const from = '2001:db8::1';
  const wrapped = (port: number) => {
    const packet = { protocol: 'tcp', port, sourcePort: 1000 } as const;
    const outer = plain({ ...packet, to: 'fd99::1', from: target.client.ipv6 });
    return frame(asProtocol(outer, NUMBERS.ipv6, plain({ ...packet, to, from })), {
      to: target.macs.server,
      from: target.macs.client,
    });
  };
  const { drop, reject, open } = PORTS.tcp;
  await target.host('client').frames([drop, reject, open].map(wrapped));
  const { passed } = await until(
    () => target.witnessed(),
    ({ passed }) => passed.has(`${from} 6 ${open}`),
  );
  for (const port of [drop, reject]) t.notOk(passed.has(`${from} 6 ${port}`), `${port}`);
});

/** For what must succeed, however busy the machine is. */
const PATIENCE = 10_000;

t.test('a router passes on no packet that begins a flow in its own name', needs, async t => {
  const target = await createTarget(t, { clients: ['client', 'stranger'] });
  await shell(target, 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding');
  await target.host('server').listen(7777); // neither guarded nor public
  // the stranger's kernel would refuse a connection that the server seems to begin
  const mute = `nft -f - <<END
table ip6 mute {
  chain input {
    type filter hook input priority 0
    tcp flags & (syn | ack) == syn drop
  }
}
END`;
  await target.run('stranger', 'sh', ['-ec', mute]);
  const stranger = target.host('stranger');
  const { ipv6: to } = target.addresses('stranger');
  const { ipv6: server } = target.server;
  /** Sends a packet to the stranger by way of the server, as if from that, and then one in the client's own name, which is passed on. */
  const forge = async (protocol: 'tcp' | 'udp', sourcePort: number, port: number) => {
    const own = { protocol: 'udp', from: target.client.ipv6, to, sourcePort, port } as const;
    const { macs } = target;
    const frames = [{ ...own, protocol, from: server }, own].map(packet =>
      frame(plain(packet), { to: macs.server, from: macs.client }),
    );
    await target.host('client').frames(frames);
    await until(
      () => shell(target, 'conntrack -L -f ipv6 -p udp 2>/dev/null'),
      flows => flows.includes(`src=${own.from} dst=${to} sport=${sourcePort} dport=${port} `),
    );
  };
  const { drop, open } = PORTS.udp;
  for (const [name, config] of Object.entries(CONFIGS)) {
    await target.reload(config);
    await forge('udp', drop, 4001);
    t.equal(await stranger.udp(server, drop, 'x', { localPort: 4001, timeout: 400 }), 'silent', name);
    t.equal(await stranger.udp(server, open, 'x', { timeout: PATIENCE }), 'x', `${name}: the control`);
    const drops = name === 'policy drop';
    if (drops) {
      await forge('tcp', 7777, 4002);
      t.equal(await stranger.connect(server, 7777, { localPort: 4002 }), 'silent', `${name}, TCP`);
    }
    await target.nft('delete chain inet knockd forward');
    await forge('udp', drop, 4003);
    t.equal(
      await stranger.udp(server, drop, 'x', { localPort: 4003, timeout: PATIENCE }),
      'x',
      `${name}: without our chain`,
    );
    if (drops) {
      await forge('tcp', 7777, 4004);
      t.equal(
        await stranger.connect(server, 7777, { localPort: 4004, timeout: PATIENCE }),
        'open',
        `${name}, TCP: without our chain`,
      );
    }
  }
});

/** Packets in this host's name: the address that they bear, and whom they are for. Whoever that is then answers. */
const IN_OUR_NAME: Readonly<Record<string, readonly [from: string, to: string]>> = {
  'passed on, from an address of ours': ['fd77::1', 'fd77::3'],
  'passed on, from an address that routers share': ['fd77::', 'fd77::3'],
  'passed on, from a broadcast address': ['10.77.0.255', '10.77.0.3'],
  'passed on, from loopback': ['127.0.0.2', '10.77.0.3'],
  'for us, from an address of ours': ['fd77::1', 'fd77::11'],
  'for us, from an address that routers share': ['fd77::', 'fd77::11'],
  'for an address that routers share, from one of ours': ['fd77::1', 'fd77::'],
  'for us, from a broadcast address': ['10.77.0.255', '10.78.0.255'],
  'for us, from loopback': ['127.0.0.2', '127.0.0.3'],
};

t.test('a flow that a stranger begins in our name leads to no guarded UDP port', needs, async t => {
  const target = await createTarget(t, { clients: ['client', 'stranger'] });
  await shell(
    target,
    `ip addr add fd77::11/64 dev eth0 nodad
     ip addr add 10.78.0.1/24 brd + dev eth0
     cd /proc/sys/net
     echo 1 >ipv6/conf/all/forwarding
     echo 1 >ipv4/ip_forward
     for name in all eth0; do
       for switch in rp_filter send_redirects; do echo 0 >ipv4/conf/$name/$switch; done
       echo 1 >ipv4/conf/$name/route_localnet
     done`,
  );
  const { drop, open } = PORTS.udp;
  const silent = 5354; // open to all, and nobody listens there: two that echo would never end
  /** Whether the answer to a packet from `port` gets in. */
  const answered = async (ours: string, peer: string, port: number) => {
    const udp = { protocol: 'udp', payload: 'x' } as const;
    const first = { ...udp, from: ours, sourcePort: port, to: peer, port: silent };
    const answer = { ...udp, from: peer, sourcePort: silent, to: ours, port };
    const control = { ...udp, from: peer, sourcePort: 4000, to: ours, port: open };
    const { macs } = target;
    await target
      .host('client')
      .frames(
        [first, answer, control].map(packet => frame(plain(packet), { to: macs.server, from: macs.client })),
      );
    const { passed } = await until(
      () => target.witnessed(),
      ({ passed }) => passed.has(`${peer} 17 ${open}`),
    );
    return passed.has(`${peer} 17 ${port}`);
  };
  const drops = { ...CONFIGS['policy drop'], public: [80, `${open}/udp`, `${silent}/udp`] };
  for (const [name, config] of Object.entries({ ...CONFIGS, 'policy drop': drops }))
    for (const [how, [ours, peer]] of Object.entries(IN_OUR_NAME)) {
      await target.reload(config);
      t.equal(await answered(ours, peer, drop), false, `${name}: ${how}`);
      if (config !== CONFIGS['policy accept']) continue;
      await target.reload(config);
      await target.nft('flush chain inet knockd forward; flush chain inet knockd posing');
      t.equal(await answered(ours, peer, drop), true, `${how}: without our rules`);
    }
});

t.test(
  'what this host sends to a multicast address from a guarded UDP port comes back to it',
  needs,
  async t => {
    const target = await createTarget(t);
    const { drop, open } = PORTS.udp;
    const copies = `table inet copies {
  counter copied {
  }
  chain input {
    type filter hook input priority 10
    ip daddr 224.0.0.1 udp sport ${drop} counter name copied
  }
}`;
    const packet = { protocol: 'udp', to: '224.0.0.1', port: open, sourcePort: drop, payload: 'x' } as const;
    for (const [name, config] of Object.entries(CONFIGS)) {
      await target.reload(config);
      await target.nft(copies);
      await target.host('server').send([packet]);
      const copied = /counter copied \{\s*packets 1 /;
      t.match(
        await until(
          () => target.list(),
          list => copied.test(list),
        ),
        copied,
        name,
      );
    }
  },
);

t.test('a flow that a stranger on two links begins in our link-local name leads nowhere', needs, async t => {
  const target = await createTarget(t);
  await target.host('server').listen(7777); // neither guarded nor public
  await shell(
    target,
    `ip link add mv0 link eth0 type macvlan mode bridge
     ip link set mv0 addrgenmode none
     ip link set mv0 up
     ip addr add fe80::99:1/64 dev mv0 nodad`,
  );
  const { macs } = target;
  const mv0 = macOf(await shell(target, 'cat /sys/class/net/mv0/address'));
  const [ours, other] = ['fe80::77:1', 'fe80::99:1'] as const; // on eth0, and on mv0
  const silent = 5354; // open to all, and nobody listens there
  /** Sends frames to an address of ours. Says which ports they reached. */
  const reached = async (packets: readonly AddressedPacket[]) => {
    const control = {
      protocol: 'udp',
      from: other,
      sourcePort: 4000,
      to: ours,
      port: PORTS.udp.open,
    } as const;
    const frames = [...packets, control].map(packet =>
      frame(plain(packet), { to: packet.to === other ? mv0 : macs.server, from: macs.client }),
    );
    await target.host('client').frames(frames);
    const { passed } = await until(
      () => target.witnessed(),
      ({ passed }) => passed.has(`${other} 17 ${control.port}`),
    );
    return passed;
  };
  const guarded = PORTS.udp.drop;
  const datagrams = [
    { protocol: 'udp', from: ours, sourcePort: guarded, to: other, port: silent },
    { protocol: 'udp', from: other, sourcePort: silent, to: ours, port: guarded },
  ] as const;
  // TCP does not answer the first one, since nobody has agreed on a signature (RFC 2385)
  const [from, to] = [7777, PORTS.tcp.open];
  const signed = `1312${'00'.repeat(16)}0101`;
  const syns = [
    { protocol: 'tcp', from: ours, sourcePort: from, to: other, port: to, options: signed },
    { protocol: 'tcp', from: other, sourcePort: to, to: ours, port: from },
  ] as const;
  const drops = { ...CONFIGS['policy drop'], public: [80, `${PORTS.udp.open}/udp`, `${silent}/udp`] };
  for (const [name, config] of Object.entries({ ...CONFIGS, 'policy drop': drops })) {
    await target.reload(config);
    t.notOk((await reached(datagrams)).has(`${other} 17 ${guarded}`), name);
    await target.reload(config);
    await target.nft('flush chain inet knockd posing');
    t.ok((await reached(datagrams)).has(`${other} 17 ${guarded}`), `${name}: without our rules`);
    await target.reload({ ...config, allow: ['fe80::/10'] });
    const allowed = {
      protocol: 'udp',
      from: 'fe80::5',
      sourcePort: guarded,
      to: ours,
      port: guarded,
    } as const;
    t.ok((await reached([allowed])).has(`fe80::5 17 ${guarded}`), `${name}: from a source that is allowed`);
    await target.reload(config);
    const peer = { ...allowed, from: 'fe80::6' } as const;
    t.notOk((await reached([peer])).has(`fe80::6 17 ${guarded}`), `${name}: from a peer`);
    await target.nft('add element inet knockd ssh_clients_ipv6 { fe80::6 }');
    t.ok((await reached([peer])).has(`fe80::6 17 ${guarded}`), `${name}: from a peer that knocked`);
  }
  await target.reload(drops);
  const passed = await reached(syns);
  t.ok(passed.has(`${ours} 6 ${to}`), 'TCP: the first one begins a flow');
  t.notOk(passed.has(`${other} 6 ${from}`), 'TCP: its answer leads nowhere');
});

/** Puts the server's address on a bridge with a second port, and has netfilter track frames that are only bridged, as Docker does. */
async function bridge(target: Target): Promise<void> {
  await shell(
    target,
    `mac=$(cat /sys/class/net/eth0/address)
     ip link add br0 address $mac type bridge mcast_snooping 0
     ip link set br0 addrgenmode none
     ip link add tap0 type veth peer name tap1
     for port in tap0 tap1 br0; do ip link set $port up; done
     ip addr flush dev eth0
     ip link set eth0 master br0
     ip link set tap0 master br0
     ip addr add ${target.server.ipv4}/24 brd + dev br0
     ip addr add ${target.server.ipv6}/64 dev br0 nodad
     ip route replace default via ${target.client.ipv4}
     ip -6 route replace default via ${target.client.ipv6}
     for which in iptables ip6tables; do echo 1 >/proc/sys/net/bridge/bridge-nf-call-$which; done`,
  );
}

/** The frame is for nobody, so the bridge passes it on to all its ports. */
const NOBODY = macOf('02:00:00:00:00:99');
const EVERYBODY = macOf('ff:ff:ff:ff:ff:ff');
const SOMEBODY = macOf('02:00:00:00:00:98');
/** The rules that the documentation recommends for a host with such a bridge. */
const RULES = `table inet bridged {
  chain prerouting {
    type filter hook prerouting priority filter
    meta pkttype != host fib daddr type local drop
  }
  chain forward {
    type filter hook forward priority filter
    fib daddr type local drop
    fib saddr type local drop
  }
}`;

/** What tracking sees first: a frame to our address, an answer of ours, or a frame to our address for everybody. */
const FIRST = ['ours', 'an answer', 'to all'] as const;

const tracks = '/proc/sys/net/bridge/bridge-nf-call-iptables';
const needsBridge = { skip: needs.skip || (!existsSync(tracks) && 'br_netfilter is not loaded') };

t.test(
  'a bridge that tracks its frames opens no TCP port, and with three rules no UDP port',
  needsBridge,
  async t => {
    const target = await createTarget(t);
    await bridge(target);
    const client = target.host('client');
    const { macs } = target;
    let sourcePort = 30_000;
    /** Frames that the bridge passes on, some of them the other way round, then one for the server. Says what came in. */
    const through = async (protocol: 'tcp' | 'udp', port: number, first: (typeof FIRST)[number]) => {
      sourcePort++;
      const [server, from] = [target.server.ipv4, target.client.ipv4];
      const there = { protocol, to: server, from, port, sourcePort, payload: 'x' } as const;
      const back = {
        protocol,
        to: from,
        from: server,
        port: sourcePort,
        sourcePort: port,
        payload: 'x',
      } as const;
      const pass = [frame(plain(there), { to: first === 'to all' ? EVERYBODY : NOBODY, from: macs.client })];
      const answer = [
        frame(plain({ ...back, flags: ['syn', 'ack'], acknowledgment: 0x1000_0000 + sourcePort + 2 }), {
          to: NOBODY,
          from: SOMEBODY,
        }),
      ];
      const last: AddressedPacket =
        protocol === 'tcp' ? { ...there, sequence: 0x1000_0000 + sourcePort } : there;
      await client.frames([
        ...(first === 'an answer' ? answer : first === 'ours' ? [...pass, ...answer] : pass),
        frame(plain(last), { to: macs.server, from: macs.client }),
      ]);
      await client.frames([
        frame(plain({ ...there, port: PORTS[protocol].open }), { to: macs.server, from: macs.client }),
      ]);
      const control = `${from} ${NUMBER[protocol]} ${PORTS[protocol].open}`;
      const { passed } = await until(
        () => target.witnessed(),
        ({ passed }) => passed.has(control),
      );
      return passed.has(`${from} ${NUMBER[protocol]} ${port}`);
    };
    for (const first of FIRST) {
      await target.reload();
      t.equal(await through('tcp', PORTS.tcp.drop, first), false, `TCP, ${first} first`);
      t.equal(await through('udp', PORTS.udp.drop, first), true, `UDP, ${first} first, without the rules`);
      await target.reload();
      await target.nft(RULES);
      t.equal(await through('udp', PORTS.udp.drop, first), false, `UDP, ${first} first, with the rules`);
    }
  },
);

t.test('a bridge that tracks its frames lets in no datagram to many hosts', needsBridge, async t => {
  const target = await createTarget(t);
  await bridge(target);
  const client = target.host('client');
  const { drop, open } = PORTS.udp;
  for (const hook of ['input', 'prerouting'] as const) {
    await target.reload({ hook });
    for (const [index, to] of ['10.77.0.255', '255.255.255.255', '224.0.0.1', 'ff02::1'].entries()) {
      const from = to.includes(':') ? `fd77::9${index}` : `10.77.0.9${index}`;
      const packet = { protocol: 'udp', to, from, sourcePort: 4000, payload: 'x' } as const;
      const passed = async (port: number) => {
        // the second one belongs to a flow that tracking knows, and comes to nobody else
        const frames = [EVERYBODY, target.macs.server].map(mac =>
          frame(plain({ ...packet, port }), { to: mac, from: target.macs.client }),
        );
        await client.frames(frames);
        const control = { ...packet, port: open, sourcePort: 4000 + port };
        await client.frames([frame(plain(control), { to: EVERYBODY, from: target.macs.client })]);
        const { passed } = await until(
          () => target.witnessed(),
          ({ passed }) => passed.has(`${from} 17 ${open}`),
        );
        return passed.has(`${from} 17 ${port}`);
      };
      t.equal(await passed(drop), false, `${hook}, to ${to}`);
      await client.knock(target.server[to.includes(':') ? 'ipv6' : 'ipv4'], SEQUENCES.ssh, { from });
      t.equal(await passed(drop), true, `${hook}, to ${to}: from a client`);
    }
  }
});

t.test(
  'a bridge that tracks its frames passes on the packets of hosts that have no address yet',
  needsBridge,
  async t => {
    const target = await createTarget(t);
    await bridge(target);
    const ask = {
      protocol: 'udp',
      from: '0.0.0.0',
      to: '255.255.255.255',
      sourcePort: 68,
      port: 67,
    } as const;
    for (const [name, config] of Object.entries(CONFIGS)) {
      await target.reload(config);
      await target.nft(`table bridge beyond {
  counter asked { }
  chain postrouting {
    type filter hook postrouting priority 0
    oifname "tap0" udp dport 67 counter name asked
  }
}`);
      await target.host('client').frames([frame(plain(ask), { to: EVERYBODY, from: target.macs.client })]);
      const asked = () => shell(target, 'nft reset counter bridge beyond asked');
      t.match(await until(asked, text => text.includes('packets 1 ')), 'packets 1 ', name);
      await target.nft('delete table bridge beyond');
    }
  },
);
