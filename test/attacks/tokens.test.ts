/** Tokens on ways that no honest client sends them: in pieces, twice, to many hosts, quoted by an error. */
import t from 'tap';
import { tokenDatagram } from '../../src/token/packet.ts';
import { families } from '../kernel/loaded.ts';
import { type AddressedPacket, addressAfter, checksum } from '../kernel/packet.ts';
import { GOOD, token } from '../kernel/token-world.ts';
import {
  encapsulated,
  extension,
  fragments,
  frame,
  NUMBER,
  type Packets,
  plain,
  withExtensions,
  withOptions,
} from './frames.ts';
import { createTarget, needs, PORTS } from './target.ts';

type Family = (typeof families)[number];

interface Shape {
  readonly name: string;
  readonly family?: Family;
  /** Whether the kernel takes it for a datagram to the token port. */
  readonly opens: boolean;
  readonly make: (packet: AddressedPacket) => Packets;
}

const cut = (...parts: Parameters<typeof fragments>[1]): Shape['make'] => {
  return packet => fragments(plain(packet), parts);
};
const changed = (change: (packet: AddressedPacket) => Partial<AddressedPacket>): Shape['make'] => {
  return packet => [plain({ ...packet, ...change(packet) })];
};

/** An ICMP error that quotes the datagram: its port cannot be reached. */
const quoted: Shape['make'] = packet => {
  const header = Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]);
  header.writeUInt16BE(checksum(Buffer.concat([header, plain(packet)])), 2);
  return [encapsulated(plain(packet), NUMBER.icmp, header)];
};

const SHAPES: readonly Shape[] = [
  { name: 'by itself', opens: true, make: packet => [plain(packet)] },
  { name: 'twice, as by a switch', opens: true, make: packet => [plain(packet), plain(packet)] },
  { name: 'in two fragments', opens: true, make: cut({ from: 0, to: 40 }, { from: 40 }) },
  { name: 'in the wrong order', opens: true, make: cut({ from: 40 }, { from: 0, to: 40 }) },
  { name: 'in fragments that overlap', opens: false, make: cut({ from: 0, to: 48 }, { from: 40 }) },
  { name: 'in a first fragment alone', opens: false, make: cut({ from: 0, to: 56 }) },
  {
    name: 'behind IP options',
    family: 'ipv4',
    opens: true,
    make: packet => [withOptions(plain(packet), [7, 7, 4, 0, 0, 0, 0])],
  },
  {
    name: 'behind an extension header',
    family: 'ipv6',
    opens: true,
    make: packet => [withExtensions(plain(packet), [extension.destination])],
  },
  { name: 'with a wrong checksum', opens: false, make: changed(() => ({ badChecksum: true })) },
  { name: 'from port 0', opens: true, make: changed(() => ({ sourcePort: 0 })) },
  {
    name: 'with more behind it',
    opens: true,
    make: changed(({ payload }) => ({ payload: `${payload}more` })),
  },
  { name: 'a byte later', opens: false, make: changed(({ payload }) => ({ payload: `-${payload}` })) },
  {
    name: 'to the broadcast address',
    family: 'ipv4',
    opens: false,
    make: changed(() => ({ to: '10.77.0.255' })),
  },
  { name: 'to all hosts', family: 'ipv4', opens: false, make: changed(() => ({ to: '224.0.0.1' })) },
  { name: 'to all hosts', family: 'ipv6', opens: false, make: changed(() => ({ to: 'ff02::1' })) },
  { name: 'quoted by an error', family: 'ipv4', opens: false, make: quoted },
  {
    name: 'within IP in IP',
    opens: false,
    make: packet => [encapsulated(plain(packet), packet.to.includes(':') ? NUMBER.ipv6 : NUMBER.ipv4)],
  },
];

t.test(
  'a token opens once, whatever its packet looks like, and no other packet uses it up',
  needs,
  async t => {
    const target = await createTarget(t);
    for (const config of [{}, { hook: 'prerouting' }, { policy: 'drop' }])
      await t.test(JSON.stringify(config), async t => {
        await target.reload(config);
        const cases = families
          .flatMap(family => SHAPES.map(shape => ({ ...shape, which: family })))
          .filter(({ family, which }) => family === undefined || family === which)
          .map(({ name, opens, make, which }, index) => {
            const from = addressAfter(which === 'ipv4' ? '198.18.0.1' : '2001:db8::1', index);
            const payload = tokenDatagram(token('alice', GOOD + index, { service: 'vpn' }));
            const to = target.server[which];
            const port = PORTS.udp.token;
            const packet = { protocol: 'udp', to, from, port, sourcePort: 20_000, payload } as const;
            return { name: `${which}: ${name}`, opens, packet, packets: make(packet), client: `vpn ${from}` };
          });
        const inside = async (some: readonly { readonly packets: Packets }[]) => {
          const all = some.flatMap(({ packets }) => packets);
          const { server, client } = target.macs;
          await target.host('client').frames(all.map(bytes => frame(bytes, { to: server, from: client })));
          const found = new Set(await target.inside());
          for (const family of families) await target.nft(`flush set inet knockd vpn_clients_${family}`);
          return cases.filter(({ client }) => found.has(client)).map(({ name }) => name);
        };
        const [good, bad] = [cases.filter(({ opens }) => opens), cases.filter(({ opens }) => !opens)];
        const named = (some: typeof cases) => some.map(({ name }) => name);
        t.same(await inside(cases), named(good));
        t.same(await inside(cases), [], 'once more');
        t.same(
          await inside(cases.map(({ packet }) => ({ packets: [plain(packet)] }))),
          named(bad),
          'not used up',
        );
      });
  },
);
