/** Datagrams of the kernel: packets of NFLOG, flows of connection tracking, traces; sockets, links, routes and hooks of a dump. */
import { DecodeError } from '../../../src/netlink/attributes.ts';
import { Connection } from '../../../src/netlink/connection.ts';
import { decodeFlow } from '../../../src/netlink/conntrack.ts';
import { encodeHeader, NLMSG_HEADER } from '../../../src/netlink/datagram.ts';
import { NetlinkError } from '../../../src/netlink/errors.ts';
import { readSockets } from '../../../src/netlink/inet-diag.ts';
import { readLinks } from '../../../src/netlink/link.ts';
import { decodePackets } from '../../../src/netlink/nflog.ts';
import { readHooks, routeTo } from '../../../src/netlink/route.ts';
import type { Socket } from '../../../src/netlink/socket.ts';
import { decodeTrace, decodeTraces } from '../../../src/nftables/trace.ts';
import { tokenOfPacket } from '../../../src/token/read.ts';

const NLMSG_DONE = 3;
const NLM_F_MULTI = 2;

/** A kernel that answers each request with these bytes. */
class Answering implements Socket {
  readonly #payload: Buffer;
  #listener: (datagram: Buffer) => void = () => {};

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  async send(datagram: Buffer): Promise<void> {
    const [type, sequence] = [datagram.readUInt16LE(4), datagram.readUInt32LE(8)];
    const header = (size: number, of: number) => encodeHeader(NLMSG_HEADER + size, of, NLM_F_MULTI, sequence);
    this.#listener(Buffer.concat([header(this.#payload.length, type), this.#payload]));
    this.#listener(Buffer.concat([header(4, NLMSG_DONE), Buffer.alloc(4)]));
  }

  onDatagram(listener: (datagram: Buffer) => void): void {
    this.#listener = listener;
  }

  close(): void {}
}

const asked = (payload: Buffer) => new Connection(new Answering(payload), { fencePause: 0 });

/** By the first byte of an input. */
const READERS: readonly ((data: Buffer) => unknown)[] = [
  data => decodePackets(data).map(({ packet }) => tokenOfPacket(packet)),
  tokenOfPacket,
  decodeFlow,
  decodeTraces,
  decodeTrace,
  data => readSockets(asked(data), 'tcp', 0xfff),
  data => readLinks(asked(data)),
  data => readHooks(asked(data)),
  data => routeTo(asked(data), Buffer.from([192, 0, 2, 1])),
];

const hex = (reader: number, text: string) =>
  Buffer.concat([Buffer.from([reader]), Buffer.from(text, 'hex')]);
const ipv4 = `4500005400000000401100000a4d00020a4d0001${'1234f2f5'}00400000${'00'.repeat(24)}${'61'.repeat(32)}`;
const attribute = (type: number, body: string) => {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + body.length / 2, 0);
  header.writeUInt16LE(type, 2);
  return header.toString('hex') + body + '00'.repeat(-(body.length / 2) & 3);
};
const message = (type: number, body: string) =>
  encodeHeader(NLMSG_HEADER + body.length / 2, type, 0, 0).toString('hex') + body;
const tuple = (type: number) =>
  attribute(
    type,
    attribute(1, attribute(1, '0a4d0002') + attribute(2, '0a4d0001')) +
      attribute(2, attribute(1, '06') + attribute(2, '9c40') + attribute(3, '0016')),
  );
export const seeds = [
  hex(
    0,
    message(0x400, `02000016${attribute(10, '6f70656e00')}${attribute(2, '00000001')}${attribute(9, ipv4)}`),
  ),
  hex(1, ipv4),
  hex(1, `600000000014003c${'00'.repeat(32)}11000000${'00'.repeat(4)}1234f2f500400000${'61'.repeat(56)}`),
  hex(
    2,
    `02000000${tuple(1)}${tuple(2)}${attribute(3, '0000000e')}${attribute(4, attribute(1, attribute(1, '03')))}`,
  ),
  hex(
    4,
    `02000000${attribute(4, '00000001')}${attribute(1, '7400')}${attribute(2, '6300')}${attribute(6, attribute(1, '00000001'))}`,
  ),
  hex(5, `0201${'00'.repeat(70)}`),
  hex(
    6,
    `0000010002000000${'00'.repeat(8)}${attribute(3, '6574683000')}${attribute(18, attribute(1, '6272696467650000'))}`,
  ),
  hex(7, `0000010002000000${'00'.repeat(8)}${attribute(3, '6574683000')}`),
  hex(8, `0220000000000000fe000001${'00'.repeat(0)}${attribute(4, '02000000')}${attribute(7, '0a4d0001')}`),
];

export async function fuzz(data: Buffer): Promise<void> {
  try {
    await READERS[(data[0] ?? 0) % READERS.length]?.(data.subarray(1));
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof NetlinkError)) throw error;
  }
}
