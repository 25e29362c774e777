/** Raw packets: the part of the agent that knocks, floods, sweeps, and looks at the answers. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { CaptureOptions, FloodOptions, Requests, Sent, SweepOptions } from './host.ts';
import { PacketReceiver, PacketSender } from './libc.ts';
import {
  type AddressedPacket,
  addressAfter,
  answerTo,
  type Captured,
  decodePacket,
  encodeControlMessage,
  encodePacket,
  type Packet,
  type Protocol,
  packetTemplate,
  type Seen,
  type Template,
} from './packet.ts';

const sender = new PacketSender();
const ownAddresses = new Map<string, string>();
let lastSourcePort = 20000 + (process.pid % 10000);

/** Below Linux's range for its own connections (from 32768 on), so that the two never meet. */
function freshSourcePort(): number {
  lastSourcePort = lastSourcePort < 32767 ? lastSourcePort + 1 : 20000;
  return lastSourcePort;
}

/** The address of this host for packets to `to`. */
async function ownAddress(to: string): Promise<string> {
  const known = ownAddresses.get(to);
  if (known) return known;
  const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
  socket.bind();
  await once(socket, 'listening');
  socket.setBroadcast(true); // without it, no connect to a broadcast address
  socket.connect(9, to);
  await once(socket, 'connect');
  const { address } = socket.address();
  socket.close();
  ownAddresses.set(to, address);
  return address;
}

async function addressed(packet: Packet): Promise<AddressedPacket> {
  return {
    ...packet,
    from: packet.from ?? (await ownAddress(packet.to)),
    sourcePort: packet.sourcePort ?? freshSourcePort(),
  };
}

function parseKnock(text: string): { readonly protocol: Protocol; readonly port: number } {
  const [port, protocol = 'tcp'] = text.split('/');
  if (protocol !== 'tcp' && protocol !== 'udp') throw new Error(`${text} is no knock`);
  return { protocol, port: Number(port) };
}

export async function control({ messages }: Requests['control'][0]): Promise<Requests['control'][1]> {
  return measured(() => {
    for (const message of messages) {
      const bytes = encodeControlMessage(message);
      sender.add(message.to, bytes.length, (target, offset) => target.set(bytes, offset));
    }
  });
}

function sendOne(packet: AddressedPacket): void {
  const bytes = encodePacket(packet);
  sender.add(packet.to, bytes.length, (target, offset) => target.set(bytes, offset));
}

function sendFrom(template: Template, sourcePort: number, port: number): void {
  sender.add(template.to, template.bytes.length, (target, offset) =>
    template.write(target, offset, sourcePort, port),
  );
}

async function measured(work: () => void | Promise<void>): Promise<Sent> {
  const before = sender.sent;
  const start = performance.now();
  await work();
  sender.flush();
  return { packets: sender.sent - before, seconds: (performance.now() - start) / 1000 };
}

/** A small generator, the same everywhere, so that a seed repeats a shuffle. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

function sweepPorts(order: SweepOptions['order'], random: () => number): Uint16Array {
  const ports = Uint16Array.from({ length: 65535 }, (_, index) => index + 1);
  if (order === 'falling') ports.reverse();
  if (order === 'shuffled')
    for (let last = ports.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [ports[last], ports[other]] = [ports[other] ?? 0, ports[last] ?? 0];
    }
  return ports;
}

/** The packets of a flood, one after the other. */
async function floodPackets({
  to,
  knocks,
  payloads = [],
  sources,
}: FloodOptions): Promise<(index: number) => void> {
  const parsed = knocks.map(parseKnock);
  const first = sources?.first ?? (await ownAddress(to));
  const distinct = sources?.count ?? 1;
  let templates: readonly Template[] = [];
  let current = -1;
  return index => {
    const source = Math.floor(index / parsed.length) % distinct;
    if (source !== current) {
      const from = addressAfter(first, source);
      templates = parsed.map(({ protocol }, turn) =>
        packetTemplate({ protocol, to, from, port: 0, sourcePort: 0, payload: payloads[turn] ?? '' }),
      );
      current = source;
    }
    const turn = index % parsed.length;
    const template = templates[turn];
    if (template) sendFrom(template, freshSourcePort(), parsed[turn]?.port ?? 0);
  };
}

export async function probe({ packet, timeout }: Requests['probe'][0]): Promise<Requests['probe'][1]> {
  const sent = await addressed(packet);
  const seen = await answered(sent, timeout);
  return (seen && answerTo(sent, seen)) ?? 'none';
}

export async function ask({ packet, timeout }: Requests['ask'][0]): Promise<Requests['ask'][1]> {
  return answered(await addressed(packet), timeout);
}

/** Sends a packet, and waits for the first one that answers it. */
async function answered(sent: AddressedPacket, timeout: number): Promise<Seen | null> {
  const receiver = new PacketReceiver();
  try {
    const deadline = performance.now() + timeout;
    sendOne(sent);
    sender.flush();
    for (;;) {
      const bytes = await receiver.next(deadline);
      if (!bytes) return null;
      const seen = decodePacket(bytes);
      if (seen && answerTo(sent, seen)) return seen;
    }
  } finally {
    receiver.close();
  }
}

/** When a capture ends, as `performance.now` counts. */
interface End {
  at: number;
}

const captures = new Map<number, { readonly end: End; readonly all: Promise<readonly Captured[]> }>();
let lastCapture = 0;
/** How often a capture looks whether it should end, in milliseconds. */
const LOOK = 50;

export async function capture(options: Requests['capture'][0]): Promise<number> {
  const receiver = new PacketReceiver();
  const end = { at: Number.POSITIVE_INFINITY };
  captures.set(++lastCapture, { end, all: receive(receiver, options, end) });
  return lastCapture;
}

export function endCapture({
  capture,
  milliseconds,
}: Requests['endCapture'][0]): Promise<readonly Captured[]> {
  const capturing = captures.get(capture);
  if (!capturing) throw new Error('it was ended before');
  captures.delete(capture);
  capturing.end.at = performance.now() + milliseconds;
  return capturing.all;
}

/** Reads all the time, because a queue in the kernel is short. */
async function receive(
  receiver: PacketReceiver,
  { from, protocol, port }: CaptureOptions,
  end: End,
): Promise<readonly Captured[]> {
  const all: Captured[] = [];
  for (;;) {
    const bytes = await receiver.next(Math.min(end.at, performance.now() + LOOK));
    if (!bytes && performance.now() >= end.at) break;
    const seen = bytes && decodePacket(bytes);
    if (!seen || (from && seen.from !== from) || (protocol && seen.protocol !== protocol)) continue;
    if (port === undefined || seen.port === port || seen.sourcePort === port)
      all.push({ ...seen, bytes: bytes.toString('hex') });
  }
  receiver.close();
  return all;
}

export async function relay({ to, count, delay: longest }: Requests['relay'][0]): Promise<null> {
  const receiver = new PacketReceiver();
  for (let passed = 0; passed < count; ) {
    const bytes = await receiver.next(performance.now() + 60_000);
    const packet = bytes && decodePacket(bytes);
    if (packet?.to !== to || (packet.protocol !== 'tcp' && packet.protocol !== 'udp')) continue;
    passed++;
    // encoded anew, because a virtual wire leaves checksums out
    const again = { ...packet, protocol: packet.protocol };
    // from the packet's arrival, because this process may have looked late
    setTimeout(
      () => {
        sendOne(again);
        sender.flush();
      },
      receiver.arrival() + Math.random() * longest - Date.now(),
    );
  }
  receiver.close();
  return null;
}

export async function knock({
  address: to,
  knocks,
  from,
  gap = 0,
}: Requests['knock'][0]): Promise<Requests['knock'][1]> {
  for (const [index, text] of knocks.entries()) {
    if (index > 0 && gap > 0) await delay(gap);
    sendOne(await addressed({ ...parseKnock(text), to, ...(from && { from }) }));
    sender.flush();
  }
  return null;
}

export async function send({ packets }: Requests['send'][0]): Promise<Requests['send'][1]> {
  const complete = await Promise.all(packets.map(addressed));
  return measured(() => complete.forEach(sendOne));
}

export async function flood(options: Requests['flood'][0]): Promise<Requests['flood'][1]> {
  const sendNth = await floodPackets(options);
  const { count, rate } = options;
  return measured(async () => {
    const start = performance.now();
    for (let index = 0; index < count; ) {
      const due = rate ? Math.min(count, Math.ceil(((performance.now() - start) / 1000) * rate) + 1) : count;
      while (index < due) sendNth(index++);
      sender.flush();
      if (index < count) await delay(2);
    }
  });
}

export async function sweep({
  address: to,
  order = 'rising',
  protocol = 'tcp',
  rounds = 1,
  from,
  seed = 1,
}: Requests['sweep'][0]): Promise<Requests['sweep'][1]> {
  const random = mulberry32(seed);
  const template = packetTemplate(await addressed({ protocol, to, port: 0, ...(from && { from }) }));
  return measured(() => {
    for (let round = 0; round < rounds; round++) {
      const sourcePort = freshSourcePort();
      for (const port of sweepPorts(order, random)) sendFrom(template, sourcePort, port);
    }
  });
}
