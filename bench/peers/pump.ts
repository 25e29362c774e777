/**
 * Runs on the client: reads a plan as JSON from stdin, sends its packets at the wanted rates in interleaved rounds, and prints the
 * time that this took. The kernel handles a packet over veth in the sending thread, to its end. So this thread's time is that of
 * sender, wire and receiver together, without the receiver's daemon.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PacketSender, stayOnOneProcessor } from '../../test/kernel/libc.ts';
import { encodePacket } from '../../test/kernel/packet.ts';
import { RUNNING } from '../sender.ts';
import { work } from '../work.ts';

export interface PumpPlan {
  readonly lanes: readonly { readonly to: string; readonly pids: readonly number[] }[];
  /** Packets a second. */
  readonly rates: readonly number[];
  readonly rounds: number;
  /** For each lane and rate in each round. */
  readonly seconds: number;
}

export interface Pumped {
  readonly lane: number;
  readonly rate: number;
  /** Packets a second. */
  readonly reached: number;
  /** Nanoseconds of this thread for a packet. */
  readonly nanoseconds: number;
  /** Of the daemon, seconds of CPU in a second. */
  readonly daemon: number;
}

/** The destination of running connections. */
export const BUSY_PORT = 443;

const CHUNK = 256;
const sender = new PacketSender();
const still = new Int32Array(new SharedArrayBuffer(4));

/** Half of them belong to running connections, half are SYNs to a port that no file names. */
function fill(to: string): void {
  for (let index = 0; index < CHUNK; index++) {
    const packet = encodePacket(
      index % 2 === 0
        ? {
            protocol: 'tcp',
            to,
            from: RUNNING.from,
            sourcePort: RUNNING.firstPort + ((index >> 1) % RUNNING.count),
            port: BUSY_PORT,
            flags: ['ack'],
          }
        : { protocol: 'tcp', to, from: `198.18.1.${index}`, sourcePort: 1024 + index, port: 9999 },
    );
    sender.add(to, packet.length, (target, offset) => target.set(packet, offset));
  }
  sender.flush();
}

/** CPU seconds of the main thread only, since Node.js's other threads do not send. */
function ownSeconds(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9;
}

const daemonSeconds = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + work(pid).seconds, 0);

function pump(lane: number, rate: number, { lanes, seconds }: PumpPlan): Pumped {
  const { to, pids } = lanes[lane] ?? { to: '', pids: [] };
  fill(to);
  const before = { sent: sender.sent, own: ownSeconds(), daemon: daemonSeconds(pids) };
  const start = performance.now();
  const end = start + seconds * 1000;
  for (let now = start; now < end; now = performance.now()) {
    const due = start + ((sender.sent - before.sent) / rate) * 1000;
    if (due > now) Atomics.wait(still, 0, 0, due - now);
    sender.repeat();
  }
  const took = (performance.now() - start) / 1000;
  const packets = sender.sent - before.sent;
  return {
    lane,
    rate,
    reached: packets / took,
    nanoseconds: ((ownSeconds() - before.own) / packets) * 1e9,
    daemon: (daemonSeconds(pids) - before.daemon) / took,
  };
}

function pumpAll(plan: PumpPlan): readonly Pumped[] {
  const runs = plan.lanes.flatMap((_, lane) => plan.rates.map(rate => [lane, rate] as const));
  for (const [lane] of runs) pump(lane, 100_000, { ...plan, seconds: 0.02 }); // neighbours, caches, compiled code
  const pumped: Pumped[] = [];
  for (let round = 0; round < plan.rounds; round++) {
    const order = runs.map(run => [Math.random(), run] as const).toSorted(([a], [b]) => a - b);
    for (const [, [lane, rate]] of order) pumped.push(pump(lane, rate, plan));
  }
  return pumped;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  stayOnOneProcessor();
  process.stdout.write(JSON.stringify(pumpAll(JSON.parse(readFileSync(0, 'utf8')) as PumpPlan)));
}
