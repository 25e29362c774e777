/** The answers of guarded, knock and token ports, byte for byte: as the kernel answers there by itself, without a table of ours. */
import t from 'tap';
import { families, patient } from '../kernel/loaded.ts';
import { type AddressedPacket, addressAfter, type Flag, type Protocol } from '../kernel/packet.ts';
import { bodyOf, frame, isIpv6, NUMBER, plain, withClass } from './frames.ts';
import { createTarget, heard, needs, PORTS, type Target } from './target.ts';

type Family = (typeof families)[number];

/** Behind the client: each packet has a source of its own, so that no answer is one too many for its receiver. */
const FIRST = { ipv4: '198.18.0.1', ipv6: '2001:db8::1' } as const;

interface Asked {
  readonly name: string;
  readonly change: Partial<AddressedPacket>;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
}

const flags: readonly (readonly Flag[])[] = [
  ...[['syn'], ['ack'], ['fin'], [], ['fin', 'ack'], ['syn', 'ack'], ['psh', 'ack'], ['rst'], ['rst', 'ack']],
  ...[
    ['syn', 'ece', 'cwr'],
    ['fin', 'psh', 'urg'],
    ['syn', 'fin'],
    ['syn', 'rst'],
  ],
] as const as readonly (readonly Flag[])[];

const ASKED: Readonly<Record<Protocol, readonly Asked[]>> = {
  tcp: [
    ...flags.map(flags => ({
      name: flags.join('+') || 'no flags',
      change: { flags, sequence: 0x0102_0304, acknowledgment: 0x0506_0708 },
    })),
    { name: 'a SYN with data', change: { payload: 'data' } },
    { name: 'data', change: { flags: ['psh', 'ack'], payload: 'data', acknowledgment: 1 } },
    { name: 'data without ACK', change: { flags: ['psh'], payload: 'data' } },
    { name: 'the last sequence number', change: { sequence: 0xffff_ffff } },
    { name: 'the highest acknowledgment', change: { flags: ['ack'], acknowledgment: 0xffff_ffff } },
    { name: 'the options of Linux', change: { options: '020405b40402080a00000001000000000103030a' } },
    { name: 'one hop', change: { ttl: 1 } },
    { name: 'all hops', change: { ttl: 255 } },
    { name: 'a class of traffic', change: {}, trafficClass: 0xb8 },
    { name: 'congestion', change: { flags: ['ack'], acknowledgment: 1 }, trafficClass: 3 },
    { name: 'a flow label', change: {}, flowLabel: 0x12345 },
  ],
  udp: [
    { name: 'empty', change: {} },
    { name: 'data', change: { payload: 'data' } },
    { name: 'much data', change: { payload: 'x'.repeat(1400) } },
    { name: 'one hop', change: { ttl: 1 } },
    { name: 'a class of traffic', change: {}, trafficClass: 0xb8 },
    { name: 'congestion', change: {}, trafficClass: 3 },
    { name: 'a flow label', change: {}, flowLabel: 0x12345 },
  ],
};

interface Case extends Asked {
  readonly protocol: Protocol;
  readonly family: Family;
  readonly from: string;
}

const cases: readonly Case[] = families.flatMap(family =>
  (['tcp', 'udp'] as const)
    .flatMap(protocol => ASKED[protocol].map(asked => ({ ...asked, protocol, family })))
    .map((one, index) => ({ ...one, from: addressAfter(FIRST[family], index) })),
);

type Ports = Readonly<Record<Protocol, number>>;

/** The answers to each source, as bytes in hex, after `mask` has cleared what may differ. */
async function answersOf(
  target: Target,
  ports: Ports,
  mask: (bytes: Buffer) => void = () => {},
): Promise<readonly string[]> {
  const frames = cases.map(({ protocol, family, from, change, trafficClass = 0, flowLabel = 0 }) => {
    const to = target.server[family];
    const bytes = plain({ protocol, to, from, port: ports[protocol], sourcePort: 20_000, ...change });
    const { server, client } = target.macs;
    return frame(withClass(bytes, trafficClass, flowLabel), { to: server, from: client });
  });
  const seen = await heard(target, frames);
  return cases.map(({ from }) => {
    const mine = seen.filter(({ to }) => to === from).map(({ bytes }) => Buffer.from(bytes, 'hex'));
    for (const bytes of mine) {
      withoutChance(bytes);
      mask(bytes);
    }
    return mine.map(bytes => bytes.toString('hex')).join(', ') || 'silence';
  });
}

const isTcp = (bytes: Buffer) => bytes[isIpv6(bytes) ? 6 : 9] === NUMBER.tcp;

/** Takes out what chance and the network card write: IPv4's identification, and the checksums of IPv4 and TCP. */
function withoutChance(bytes: Buffer): void {
  if (isTcp(bytes)) bodyOf(bytes).fill(0, 16, 18);
  if (isIpv6(bytes)) return;
  if (!isTcp(bytes)) bytes.fill(0, 4, 6);
  bytes.fill(0, 10, 12);
}

/** Takes out the class of traffic and the flow label of a reset: by these an expert can tell, see docs/security.md. */
function withoutClass(bytes: Buffer): void {
  if (!isTcp(bytes)) return;
  if (isIpv6(bytes)) bytes.writeUInt32BE(0x6000_0000, 0);
  else bytes[1] = 0;
}

/** No program listens at the guarded ports, so the kernel answers there itself where there is no table. */
const GUARDED = { tcp: 8081, udp: 55 } as const;
const FIRST_KNOCK = { tcp: 10000, udp: 7001 } as const;
const LAST_KNOCK = { tcp: 1234, udp: 7004 } as const;
const TOKEN = { tcp: 62201, udp: 62201 } as const;
const services = {
  web: { ports: [8081, '55/udp'], sequence: [10000, 2345, 1234], closed: 'reject', ...patient },
  vpn: { ports: [2022], sequence: ['7001/udp', '7003/udp', '7004/udp'], ...patient },
  ssh: { ports: [2023], tokens: { alice: 'a1'.repeat(32) }, ...patient },
};
const configs = [{}, { hook: 'prerouting' }];

t.test(
  'a port that refuses, knocks and tokens are answered as by the kernel without a table',
  needs,
  async t => {
    const target = await createTarget(t);
    const all: readonly (readonly [string, Ports, ((bytes: Buffer) => void)?])[] = [
      ['a port that refuses', GUARDED, withoutClass],
      ['first knocks', FIRST_KNOCK],
      ['last knocks', LAST_KNOCK],
      ['the token port', TOKEN],
    ];
    await target.nft('flush ruleset');
    const bare: (readonly string[])[] = [];
    for (const [, ports, mask] of all) bare.push(await answersOf(target, ports, mask));
    t.ok(new Set(bare.flat()).size > cases.length, 'the control: answers differ');
    for (const config of configs)
      await t.test(JSON.stringify(config), async t => {
        await target.reload({ services, ...config });
        for (const [turn, [what, ports, mask]] of all.entries()) {
          const here = await answersOf(target, ports, mask);
          const differ = cases.flatMap(({ protocol, family, name }, index) =>
            here[index] === bare[turn]?.[index]
              ? []
              : [`${protocol}, ${family}, ${name}: ${here[index]}, not ${bare[turn]?.[index]}`],
          );
          t.same(differ, [], what);
        }
      });
  },
);

t.test('refusals come from the same allowance as the answers of closed ports', needs, async t => {
  const target = await createTarget(t);
  const [mask, limit] = ['net/ipv4/icmp_ratemask', 'net/ipv4/icmp_ratelimit net/ipv6/icmp/ratelimit'];
  const script = `cd /proc/sys && echo 6168 >${mask} && for limit in ${limit}; do echo 60000 >$limit || exit; done`;
  if ((await target.run('server', 'sh', ['-c', script])).status !== 0)
    return t.plan(0, 'the limit cannot be set here (a container?)');
  let sender = 1000;
  for (const config of configs) {
    await target.reload({ services, ...config });
    for (const family of families) {
      const count = async (ports: readonly number[]) => {
        const from = addressAfter(FIRST[family], sender++);
        const packets = Array.from({ length: 24 }, (_, index) => ({
          protocol: 'udp' as const,
          to: target.server[family],
          from,
          port: ports[index % ports.length] ?? 0,
          sourcePort: 20_000,
        }));
        const { server, client } = target.macs;
        const seen = await heard(
          target,
          packets.map(packet => frame(plain(packet), { to: server, from: client })),
        );
        return seen.filter(({ to }) => to === from).length;
      };
      const closed = await count([PORTS.udp.neighbour]);
      t.ok(closed > 0 && closed < 24, `${closed} answers of 24`);
      t.equal(await count([GUARDED.udp]), closed, `${family}, refused`);
      t.equal(await count([GUARDED.udp, PORTS.udp.neighbour, PORTS.udp.token]), closed, `${family}, of all`);
    }
  }
});
