import type { Family } from '../inet/family.ts';
import { DESTINATION_OFFSET, TCP_FLAG } from '../inet/header.ts';
import { portBytes } from '../inet/port.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { type Bits, certain, guess } from './bits.ts';

/** An interface that packets come in by, or go out by. */
export interface Interface {
  readonly name: string;
  /** The interface's number, if it is known. */
  readonly index: number | undefined;
  /** One of its addresses in each family that it has: 4 or 16 bytes. */
  readonly addresses: Partial<Readonly<Record<Family, Buffer>>>;
}

/** The state of connection tracking for a packet, at some point of its way. */
type Tracking = 'none' | 'new' | 'untracked';

/** A stranger's packet that begins a flow, as far as we can foretell it, or the host's answer to it. */
export interface Packet {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly network: Bits;
  readonly transport: Bits;
  /** The interface that it came in by, and the one that it goes out by; undefined if there is none, or none yet. */
  readonly input: Interface | undefined;
  readonly output: Interface | undefined;
  /** Whether it goes to an address of this host, and whether it bears one as its source. */
  readonly local: boolean;
  readonly own: boolean;
  /** Whether NAT changed its destination. */
  readonly translated: boolean;
  readonly tracking: Tracking;
  /** Whether its frame is for every host on the link, whatever its address. */
  readonly toEveryone?: true;
}

/** Ordinary addresses: globally routed, in no registry of special purposes, no neighbours of ours. */
const STRANGER = {
  ipv4: Buffer.from([81, 2, 69, 142]),
  ipv6: Buffer.from('2a020ff0000000000000000000000142', 'hex'),
} as const;
const SOMEWHERE = {
  ipv4: Buffer.from([81, 2, 69, 143]),
  ipv6: Buffer.from('2a020ff0000000000000000000000143', 'hex'),
};
/** In the range from which Linux, macOS and Windows all take source ports. */
const STRANGERS_PORT = 50_123;
const HOPS = 52;

/** The first packet of a client to a port of this host. */
export function arriving(
  to: { readonly family: Family; readonly protocol: Protocol; readonly port: number },
  way: Interface,
): Packet {
  const { family, protocol, port } = to;
  return {
    family,
    protocol,
    network: networkHeader(family, protocol, STRANGER[family], way.addresses[family] ?? SOMEWHERE[family]),
    transport: transportHeader(
      protocol,
      guess(portBytes(STRANGERS_PORT)),
      certain(portBytes(port)),
      TCP_FLAG.syn,
    ),
    input: way,
    output: undefined,
    local: true,
    own: false,
    translated: false,
    tracking: 'none',
  };
}

/** The host's answer to such a packet. */
export function answering(
  { family, protocol, port }: Parameters<typeof arriving>[0],
  way: Interface,
): Packet {
  return {
    family,
    protocol,
    network: networkHeader(family, protocol, way.addresses[family] ?? SOMEWHERE[family], STRANGER[family]),
    transport: transportHeader(
      protocol,
      certain(portBytes(port)),
      guess(portBytes(STRANGERS_PORT)),
      TCP_FLAG.syn | TCP_FLAG.ack,
    ),
    input: undefined,
    output: way,
    local: false,
    own: true,
    translated: false,
    tracking: 'none',
  };
}

/**
 * Two datagrams in frames for another host, as a bridge passes them on: one to a port of this host, and one that looks like
 * the answer to it. Nobody can tell which bridge.
 */
export function bridged(family: Family, port: number): readonly Packet[] {
  const [to, way] = [
    { family, protocol: 'udp', port } as const,
    { name: '', index: undefined, addresses: {} },
  ];
  return [arriving(to, way), answering(to, way)].map(packet => ({ ...packet, input: way, output: way }));
}

/** A datagram to a port of this host in a frame for every host on the link, as it comes in by a bridge. */
export function toEveryone(family: Family, port: number): Packet {
  const way = { name: '', index: undefined, addresses: {} };
  return { ...arriving({ family, protocol: 'udp', port }, way), toEveryone: true };
}

/** The first packet of a client to another host that this one forwards to, by way of its interface `output`. */
export function forwarding(
  to: Parameters<typeof arriving>[0] & { readonly address: Buffer },
  way: Interface,
  output: Interface,
): Packet {
  const packet = arriving(to, { ...way, addresses: { [to.family]: to.address } });
  return { ...packet, input: way, output, local: false };
}

/** The same packet after its destination was changed. Undefined parts stay. */
export function redirected(
  packet: Packet,
  to: { readonly address: Bits | undefined; readonly port: Bits | undefined; readonly local: boolean },
): Packet {
  return {
    ...packet,
    network: to.address
      ? overlay(packet.network, DESTINATION_OFFSET[packet.family], to.address)
      : packet.network,
    transport: to.port ? overlay(packet.transport, 2, to.port) : packet.transport,
    local: to.local,
    translated: true,
  };
}

/** We cannot foretell options, which lie beyond the header. */
function networkHeader(family: Family, protocol: Protocol, source: Buffer, destination: Buffer): Bits {
  if (family === 'ipv4') {
    const likely = Buffer.concat([
      Buffer.from([0x45, 0, 0, 60, 0x12, 0x34, 0x40, 0, HOPS, IPPROTO[protocol], 0, 0]),
      source,
      destination,
    ]);
    const sure = Buffer.alloc(20);
    sure.set([0xf0], 0); // version
    sure.set([0xbf, 0xff], 6); // no fragment
    sure.set([0xff], 9); // protocol
    return { likely, sure };
  }
  const likely = Buffer.concat([
    Buffer.from([0x60, 0, 0, 0, 0, 40, IPPROTO[protocol], HOPS]),
    source,
    destination,
  ]);
  const sure = Buffer.alloc(40);
  sure.set([0xf0], 0);
  sure.set([0xff], 6); // next header: a connecting client sends none in between
  return { likely, sure };
}

function transportHeader(protocol: Protocol, source: Bits, destination: Bits, flags: number): Bits {
  const rest =
    protocol === 'tcp'
      ? { likely: Buffer.alloc(16), sure: Buffer.alloc(16) }
      : { likely: Buffer.from([0, 16, 0x12, 0x34]), sure: Buffer.alloc(4) };
  if (protocol === 'tcp') {
    rest.likely.set([0x12, 0x34, 0x56, 0x78], 0); // sequence
    rest.likely.set([0xa0, flags, 0xff, 0xff], 8); // offset, flags, window
    rest.sure.set([0x3f], 9); // flags, without those of ECN
  }
  return {
    likely: Buffer.concat([source.likely, destination.likely, rest.likely]),
    sure: Buffer.concat([source.sure, destination.sure, rest.sure]),
  };
}

function overlay(bits: Bits, at: number, { likely, sure, vague }: Bits): Bits {
  const changed = { likely: Buffer.from(bits.likely), sure: Buffer.from(bits.sure) };
  likely.copy(changed.likely, at);
  sure.copy(changed.sure, at);
  return { ...changed, ...((bits.vague || vague) && { vague: true }) };
}
