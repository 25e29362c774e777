/** The kernel's reports on traced packets: by bytes, and beside `nft monitor trace`. */
import fc from 'fast-check';
import t from 'tap';
import { decodeTrace, decodeTraces } from '../../src/nftables/trace.ts';
import { bytesOf } from '../dump.ts';
import { until } from '../kernel/loaded.ts';
import { createWorld, missing } from '../kernel/world.ts';

/** `tcp dport vmap { 23 : jump foo }` of `inet a`, chain input, for a SYN from 10.77.0.2 to 10.77.0.1 port 23, from Linux 6.18. */
const MESSAGE = bytesOf(`0000  a4000000 110a0000 00000000 00000000
                         0010  01000000
                         0014  08000f00 00000002
                         001c  08000400 00000003
                         0024  08000600 a582cd78
                         002c  0a000200 696e7075 74000000
                         0038  06000100 61000000
                         0040  0c000300 00000000 0000000b
                         004c  18000580 08000100 fffffffd
                         0058           0c000200 666f6f00 00000000
                         0064  08000a00 00000002
                         006c  06000b00 00010000
                         0074  18000800 45000034 6ded4000 4006b832 0a4d0002
                         0088           0a4d0001
                         008c  18000900 bf2c0017 fe3caa06 00000000 8002faf0
                         00a0           14cb0000`);

t.test('a message says which rule did what with which packet', async t => {
  t.strictSame(
    decodeTraces(MESSAGE),
    [
      {
        id: 0xa582cd78 | 0,
        family: 1,
        table: 'a',
        chain: 'input',
        by: { rule: 11n },
        verdict: 'jump',
        target: 'foo',
        packet: {
          source: Buffer.from([10, 77, 0, 2]),
          destination: Buffer.from([10, 77, 0, 1]),
          protocol: 6,
          ports: { source: 0xbf2c, destination: 23 },
          input: 2,
          output: undefined,
        },
      },
    ].map(it => ({ ...it, id: it.id >>> 0 })),
  );
  t.strictSame(decodeTraces(Buffer.concat([MESSAGE, MESSAGE])).length, 2, 'several in a datagram');
  const other = Buffer.from(MESSAGE);
  other.writeUInt16LE(0x0a00, 4);
  t.strictSame(decodeTraces(other), [], 'other messages are passed over');
});

t.test('a damaged message is passed over, and never ends the program', async t => {
  fc.assert(
    fc.property(fc.nat(MESSAGE.length - 1), fc.nat(255), fc.nat(MESSAGE.length), (at, byte, length) => {
      const damaged = Buffer.from(MESSAGE);
      damaged[at] = byte;
      decodeTraces(damaged.subarray(0, length));
    }),
    { numRuns: 5000 },
  );
  t.throws(() => decodeTrace(Buffer.alloc(4)), { name: 'DecodeError' });
});

t.test('nft monitor trace shows the same', { skip: missing('namespaces', 'nft') }, async t => {
  const world = await createWorld(t);
  await world.nft(`table inet a {
	set s { type ipv4_addr; flags dynamic,timeout; timeout 1m; size 100; }
	chain pre {
		type filter hook prerouting priority -400; policy accept;
		meta l4proto { tcp, udp } meta nftrace set 1
	}
	chain input {
		type filter hook input priority 0; policy drop;
		meta l4proto ipv6-icmp accept
		tcp dport 1000 add @s { ip saddr } drop
		tcp dport vmap { 1001 : drop, 1002 : jump foo, 1003 : goto foo, 1004 : accept }
		tcp dport 1005 counter reject with tcp reset comment "no"
		udp dport 1006 meta mark set 7
		meta mark 7 accept
		udp dport 1234 goto last
	}
	chain last {
		drop
	}
	chain foo {
		tcp dport 1002 return
	}
}`);
  const nft = world.start('server', 'nft', ['monitor', 'trace']);
  const ours = world.start('server', process.execPath, [new URL('./tracer.js', import.meta.url).pathname]);
  await ours.line(/listening/);
  const packets = [1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008].map(port => ({
    protocol: port === 1006 ? ('udp' as const) : ('tcp' as const),
    port,
  }));
  const client = world.host('client');
  // nft may not listen yet: a packet is sent until it tells of one
  await until(
    async () => {
      await client.send([{ protocol: 'udp', to: world.server.ipv4, port: 9 }]);
      return nft.lines().length;
    },
    lines => lines > 0,
  );
  for (const family of ['ipv4', 'ipv6'] as const)
    await client.send(packets.map(packet => ({ ...packet, to: world.server[family] })));
  await client.send([{ protocol: 'udp', to: world.server.ipv4, port: 1234 }]);
  const told = (lines: readonly string[]) =>
    lines.flatMap(line => {
      const [, id, table, chain, rest = ''] = /^trace id (\w+) (?:inet )?(\S+) (\S+) (.*)$/.exec(line) ?? [];
      if (id === undefined || rest.startsWith('packet:')) return [];
      const [, verdict] = /\(verdict (.*)\)/.exec(rest) ?? [];
      return [`${id} ${table} ${chain} ${verdict === undefined ? rest.trim() : `rule (verdict ${verdict})`}`];
    });
  await Promise.all([nft, ours].map(it => it.line(/^trace id \w+ (inet )?a last rule /)));
  const [theirs, mine] = [told(nft.lines()), told(ours.lines())];
  const first = mine.indexOf(theirs[0] ?? '');
  t.ok(theirs.length > 60, `${theirs.length} lines`);
  t.strictSame(mine.slice(first), theirs);
});
