/**
 * Runs on the sending host: reads what to send as JSON from stdin, sends it in interleaved rounds, and prints the
 * nanoseconds a packet of every round. A packet over veth is worked on by the CPU that sends it, to its end, and this
 * process stays on one CPU: the time of sending is the time of the whole way.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PacketSender, stayOnOneProcessor } from '../test/kernel/libc.ts';
import { encodePacket } from '../test/kernel/packet.ts';

export interface Stream {
  readonly to: string;
  /** SYNs to these ports in turn, the whole list from one source before the next. */
  readonly ports: readonly number[];
  /** Instead, datagrams. */
  readonly udp?: true;
  /** The data of each packet. */
  readonly payload?: string;
  /** Instead, segments of connections that are tracked: from {@link RUNNING}. */
  readonly running?: true;
}

/** The source address and ports of running connections. */
export const RUNNING = { from: '198.18.0.1', firstPort: 1024, count: 64 } as const;

export interface Plan {
  readonly streams: readonly Stream[];
  readonly rounds: number;
}

/** For each stream, nanoseconds a packet for each round. */
export type Samples = readonly (readonly number[])[];

/** Packets that are sent together: whole sequences, and so few that most rounds are not interrupted. */
const CHUNK = 256;
/** Chunks of packets, made before the rounds, each packet from another source and port, and sent again and again. */
const CHUNKS = 64;
/** A stream whose chunk takes longer, in nanoseconds, has a chunk in every tenth round only. */
const SLOW = 5e6;
/** If this many packets take as long, a chunk has no more, and only every fiftieth round has one. */
const FEW = 4;

const sender = new PacketSender();

function prepare({ to, ports, udp, payload, running }: Stream): Buffer[] {
  return Array.from({ length: CHUNK * CHUNKS }, (_, index) => {
    const source = Math.floor(index / ports.length);
    return encodePacket({
      protocol: udp ? 'udp' : 'tcp',
      to,
      from: `198.18.${(source >> 8) & 255}.${source & 255}`,
      sourcePort: 1024 + ((index * 7919) % 60_000),
      port: ports[index % ports.length] ?? 0,
      ...(payload !== undefined && { payload }),
      ...(running && {
        from: RUNNING.from,
        sourcePort: RUNNING.firstPort + (index % RUNNING.count),
        flags: ['ack'],
      }),
    });
  });
}

function send(to: string, packets: readonly Buffer[], chunk: number, size: number): void {
  const start = (chunk % CHUNKS) * CHUNK;
  for (let index = start; index < start + size; index++) {
    const packet = packets[index];
    if (packet) sender.add(to, packet.length, (target, offset) => target.set(packet, offset));
  }
  sender.flush();
}

/** Sends a chunk, and returns the nanoseconds that it took. */
function measure(to: string, packets: readonly Buffer[], chunk: number, size: number): number {
  const start = process.hrtime.bigint();
  send(to, packets, chunk, size);
  return Number(process.hrtime.bigint() - start);
}

/** Another order each round, so that none always comes after the same other one. */
function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map(item => [Math.random(), item] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, item]) => item);
}

function run({ streams, rounds }: Plan): Samples {
  const prepared = streams.map(stream => {
    const { to } = stream;
    const packets = prepare(stream);
    measure(to, packets, 0, 1); // finds the neighbour
    if (measure(to, packets, 0, FEW) > SLOW)
      return { to, packets, size: FEW, every: 50, samples: [] as number[] };
    for (let chunk = 0; chunk < 4; chunk++) measure(to, packets, chunk, CHUNK); // caches, compiled code
    const slow = measure(to, packets, 4, CHUNK) > SLOW;
    return { to, packets, size: CHUNK, every: slow ? 10 : 1, samples: [] as number[] };
  });
  for (let round = 0; round < rounds; round++)
    for (const { to, packets, size, every, samples } of shuffled(prepared))
      if (round % every === 0) samples.push(measure(to, packets, round, size) / size);
  return prepared.map(({ samples }) => samples);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  stayOnOneProcessor();
  process.stdout.write(JSON.stringify(run(JSON.parse(readFileSync(0, 'utf8')) as Plan)));
}
