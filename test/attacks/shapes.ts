/** The shapes that a SYN or a datagram may have on its way to a port, and Linux's treatment of each. */
import type { AddressedPacket, Protocol } from '../kernel/packet.ts';
import {
  asProtocol,
  bodyOf,
  encapsulated,
  extension,
  fragments,
  NUMBER,
  type Packets,
  plain,
  withExtensions,
  withOptions,
} from './frames.ts';

export interface Shape {
  readonly name: string;
  readonly protocol: Protocol;
  readonly family: 'ipv4' | 'ipv6' | 'both';
  /**
   * Its meaning to Linux before any rule of ours: a new packet to that port; one to that port that begins nothing; one
   * that is not for the port; or one that does not come as far as the first rule.
   */
  readonly is: 'new' | 'no beginning' | 'not for the port' | 'refused at once';
  /** Linux discards it after the rules, or between them. Nobody gets it, but `reject` has answered by then. */
  readonly discarded?: true;
  /** The source address that it claims, if that is part of the attack. */
  readonly from?: string;
  readonly make: (packet: AddressedPacket) => Packets;
}

type Rows = readonly (Omit<Shape, 'protocol' | 'family'> & Partial<Pick<Shape, 'family'>>)[];

const shaped =
  (change: Partial<AddressedPacket>): Shape['make'] =>
  packet => [plain({ ...packet, ...change })];
const wrapped =
  (wrap: (bytes: Buffer, packet: AddressedPacket) => Buffer): Shape['make'] =>
  packet => [wrap(plain(packet), packet)];
const cut =
  (...parts: Parameters<typeof fragments>[1]): Shape['make'] =>
  packet =>
    fragments(plain(packet), parts);

/** A body of that many bytes, long enough to be cut. */
const long = 'x'.repeat(32);
const cutLong =
  (...parts: Parameters<typeof fragments>[1]): Shape['make'] =>
  packet =>
    cut(...parts)({ ...packet, payload: long });

/** The ports of a packet, replaced: what a first fragment says that a later one overwrites. */
const otherPorts = (packet: AddressedPacket) => bodyOf(plain({ ...packet, port: 9 })).subarray(0, 8);

/** Fragments that can be cut once more. */
const inner = (packet: AddressedPacket) =>
  fragments(plain({ ...packet, payload: long + long }), [{ from: 0, to: 40 }, { from: 40 }]);

/** Shapes of IP that carry either protocol. */
const carriers: Rows = [
  { name: 'as it should be', is: 'new', make: shaped({}) },
  { name: 'the last hop', is: 'new', make: shaped({ ttl: 1 }) },
  { name: 'from port 0', is: 'new', make: shaped({ sourcePort: 0 }) },
  { name: 'from a port of the server', is: 'new', make: shaped({ sourcePort: 80 }) },
  { name: 'a wrong checksum', is: 'no beginning', make: shaped({ badChecksum: true }) },
  { name: 'two fragments', is: 'new', make: cutLong({ from: 0, to: 24 }, { from: 24 }) },
  {
    name: 'fragments that cut the header',
    is: 'new',
    family: 'ipv4',
    make: cutLong({ from: 0, to: 8 }, { from: 8 }),
  },
  { name: 'fragments in the wrong order', is: 'new', make: cutLong({ from: 24 }, { from: 0, to: 24 }) },
  {
    name: 'a fragment twice',
    is: 'new',
    make: cutLong({ from: 0, to: 24 }, { from: 0, to: 24 }, { from: 24 }),
  },
  { name: 'a first fragment alone', is: 'not for the port', make: cutLong({ from: 0, to: 24 }) },
  { name: 'a last fragment alone', is: 'not for the port', make: cutLong({ from: 24 }) },
  {
    name: 'fragments that overlap',
    is: 'not for the port',
    make: cutLong({ from: 0, to: 24 }, { from: 16, to: 32 }, { from: 32 }),
  },
  {
    name: 'a fragment that overwrites the ports',
    is: 'not for the port',
    make: packet =>
      fragments(plain({ ...packet, payload: long }), [
        { from: 0, to: 24, bytes: Buffer.concat([otherPorts(packet), Buffer.alloc(16)]) },
        { from: 0, to: 24 },
        { from: 24 },
      ]),
  },
  {
    name: 'fragments within atomic fragments',
    is: 'no beginning',
    discarded: true,
    family: 'ipv6',
    make: packet => inner(packet).map(bytes => withExtensions(bytes, [extension.atomicFragment])),
  },
  {
    name: 'fragments within fragments',
    is: 'no beginning',
    discarded: true,
    family: 'ipv6',
    make: packet => inner(packet).flatMap(bytes => fragments(bytes, [{ from: 0, to: 32 }, { from: 32 }])),
  },
  {
    name: 'within another packet (IP in IP)',
    is: 'not for the port',
    make: wrapped((bytes, { to }) => encapsulated(bytes, to.includes(':') ? NUMBER.ipv6 : NUMBER.ipv4)),
  },
  {
    name: 'within GRE',
    is: 'not for the port',
    make: wrapped((bytes, { to }) =>
      encapsulated(bytes, NUMBER.gre, Buffer.from(to.includes(':') ? [0, 0, 0x86, 0xdd] : [0, 0, 8, 0])),
    ),
  },
  ...(['sctp', 'dccp', 'udpLite', 'gre'] as const).map(
    name =>
      ({
        name: `the same ports of ${name}`,
        is: 'not for the port',
        make: wrapped(bytes => asProtocol(bytes, NUMBER[name])),
      }) as const,
  ),
  {
    name: 'cut off in the header',
    is: 'no beginning',
    make: wrapped(bytes => asProtocol(bytes, bytes[9] ?? 0, bodyOf(bytes).subarray(0, 4))),
    family: 'ipv4',
  },
  {
    name: 'an option without meaning',
    is: 'new',
    family: 'ipv4',
    make: wrapped(bytes => withOptions(bytes, [1, 1, 1, 0])),
  },
  {
    name: 'its route recorded',
    is: 'new',
    family: 'ipv4',
    make: wrapped(bytes => withOptions(bytes, [7, 7, 4, 0, 0, 0, 0])),
  },
  {
    name: 'a router alert',
    is: 'new',
    family: 'ipv4',
    make: wrapped(bytes => withOptions(bytes, [0x94, 4, 0, 0])),
  },
  ...([0x83, 0x89] as const).map(
    option =>
      ({
        name: `a source route (${option === 0x83 ? 'loose' : 'strict'})`,
        is: 'not for the port',
        discarded: true,
        family: 'ipv4',
        make: wrapped(bytes => withOptions(bytes, [option, 7, 4, 10, 77, 0, 2])),
      }) as const,
  ),
  {
    name: 'authenticated (AH) for nobody',
    is: 'not for the port',
    family: 'ipv6',
    make: wrapped(bytes => withExtensions(bytes, [extension.authentication])),
  },
  ...(
    [
      ['hop-by-hop options', [extension.hopByHop]],
      ['destination options', [extension.destination]],
      ['destination options, sixty times', Array(60).fill(extension.destination)],
      ['a routing header at its end', [extension.routing(0, 0)]],
      ['an atomic fragment', [extension.atomicFragment]],
    ] as const
  ).map(
    ([name, extensions]) =>
      ({
        name,
        is: 'new',
        family: 'ipv6',
        make: wrapped(bytes => withExtensions(bytes, extensions)),
      }) as const,
  ),
  ...(
    [
      ['hop-by-hop options in the middle', [extension.destination, extension.hopByHop]],
      ['an option that nobody knows', [extension.unknownOption]],
      ['a routing header of type 0', [extension.routing(0, 1)]],
      ['a routing header of type 2', [extension.routing(2, 1)]],
      ['a routing header of type 4 (SRv6)', [extension.routing(4, 1)]],
      ['an atomic fragment behind options', [extension.destination, extension.atomicFragment]],
    ] as const
  ).map(
    ([name, extensions]) =>
      ({
        name,
        is: 'new',
        discarded: true,
        family: 'ipv6',
        make: wrapped(bytes => withExtensions(bytes, extensions)),
      }) as const,
  ),
  // forged sources
  ...(
    [
      ['the server itself', '10.77.0.1', 'not for the port'],
      ['loopback', '127.0.0.1', 'not for the port'],
      ['nobody', '0.0.0.0', 'not for the port'],
      ['everybody', '255.255.255.255', 'not for the port'],
      ['everybody on the link', '10.77.0.255', 'new'],
      ['a group', '224.0.0.1', 'not for the port'],
      ['the reserved addresses', '240.0.0.1', 'new'],
      ['loopback', '::1', 'refused at once'],
      ['nobody', '::', 'new'],
      ['a group', 'ff02::1', 'refused at once'],
      ['an IPv4 address in IPv6', '::ffff:a4d:2', 'new'],
    ] as const
  ).map(
    ([name, from, is]) =>
      ({
        name: `from ${name} (${from})`,
        is,
        family: from.includes(':') ? 'ipv6' : 'ipv4',
        from,
        make: shaped({ from }),
      }) as const,
  ),
];

/** A Fast Open cookie of 8 bytes that nobody gave out. */
const fastOpen = '220a0102030405060708' + '0101';
/** MP_CAPABLE of version 1 without a key, and MP_JOIN with a token that nobody has. */
const multipath = '1e0401810303' + '0101';
const joining = '1e0c10001122334455667788';

const tcp: Rows = [
  {
    name: 'fragments that cut the header',
    is: 'no beginning',
    discarded: true,
    family: 'ipv6',
    make: cutLong({ from: 0, to: 8 }, { from: 8 }),
  },
  { name: 'data in the SYN', is: 'new', make: shaped({ payload: 'data' }) },
  { name: 'Fast Open, asking for a cookie', is: 'new', make: shaped({ options: '22020101' }) },
  {
    name: 'Fast Open, with a cookie and data',
    is: 'new',
    make: shaped({ options: fastOpen, payload: 'data' }),
  },
  { name: 'multipath', is: 'new', make: shaped({ options: multipath }) },
  { name: 'a path that joins', is: 'new', make: shaped({ options: joining }) },
  { name: 'a SYN of ECN', is: 'new', make: shaped({ flags: ['syn', 'ece', 'cwr'] }) },
  { name: 'urgent', is: 'new', make: shaped({ flags: ['syn', 'urg', 'psh'] }) },
  ...(
    [
      [],
      ['ack'],
      ['fin'],
      ['rst'],
      ['fin', 'ack'],
      ['rst', 'ack'],
      ['syn', 'ack'],
      ['syn', 'fin'],
      ['syn', 'rst'],
      ['fin', 'psh', 'urg'],
      ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'],
    ] as const
  ).map(flags => ({
    name: flags.join('+') || 'no flags',
    is: 'no beginning' as const,
    make: shaped({ flags, acknowledgment: 1 }),
  })),
];

/** The length in the header of a datagram. */
const saying = (length: number) =>
  wrapped(bytes => {
    const changed = Buffer.from(bytes);
    const body = bodyOf(changed);
    body.writeUInt16BE(length, 4);
    return changed;
  });

const udp: Rows = [
  { name: 'empty', is: 'new', make: shaped({ payload: '' }) },
  { name: 'much data', is: 'new', make: shaped({ payload: 'x'.repeat(1200) }) },
  { name: 'a length of 0', is: 'no beginning', make: saying(0) },
  { name: 'a length of more than there is', is: 'no beginning', make: saying(2000) },
];

const rowsOf = (protocol: Protocol, rows: Rows): readonly Shape[] =>
  rows.map(row => ({ family: 'both', ...row, protocol }));

export const SHAPES: readonly Shape[] = [
  ...rowsOf('tcp', carriers),
  ...rowsOf('tcp', tcp),
  ...rowsOf('udp', carriers),
  ...rowsOf('udp', udp),
];
