/**
 * Two threads, each in another host's network and on a processor of its own, send each token of a list at the same instant.
 * Both wait for the other before each packet. Reads the race as JSON from stdin, and prints how many were sent.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { tokenDatagram } from '../../src/token/packet.ts';
import { enterNetwork, PacketSender, stayOnOneProcessor } from './libc.ts';
import { encodePacket } from './packet.ts';

export interface Race {
  readonly hosts: readonly { readonly name: string; readonly from: string }[];
  readonly to: string;
  readonly port: number;
  readonly tokens: readonly string[];
}

interface Lane {
  readonly race: Race;
  readonly index: number;
  /** The position of each thread in the list. */
  readonly places: Int32Array;
}

function run({ race: { hosts, to, port, tokens }, index, places }: Lane): void {
  const own = hosts[index];
  if (!own) return;
  enterNetwork(`/run/netns/${own.name}`);
  stayOnOneProcessor(index);
  const packets = ['the neighbours get to know each other', ...tokens].map((token, number) =>
    encodePacket({
      protocol: 'udp',
      to,
      port,
      from: own.from,
      sourcePort: 1024 + (number % 60_000),
      payload: tokenDatagram(token),
    }),
  );
  const sender = new PacketSender();
  for (const [number, packet] of packets.entries()) {
    sender.add(to, packet.length, (target, offset) => target.set(packet, offset));
    Atomics.store(places, index, number + 1);
    while (Atomics.load(places, 1 - index) <= number);
    sender.flush();
  }
}

if (isMainThread) {
  const race = JSON.parse(readFileSync(0, 'utf8')) as Race;
  const places = new Int32Array(new SharedArrayBuffer(8));
  const program = fileURLToPath(import.meta.url);
  await Promise.all(
    race.hosts.map((_, index) => {
      const lane: Lane = { race, index, places };
      return new Promise<void>((resolve, reject) => {
        new Worker(program, { workerData: lane }).once('error', reject).once('exit', () => resolve());
      });
    }),
  );
  process.stdout.write(String(race.tokens.length));
} else run(workerData as Lane);
