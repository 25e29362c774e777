/** A world whose server loaded a configuration with `knockd-nft load`, and what the tests ask of it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Status } from '../../src/ruleset/status.ts';
import type { Packet, Seen } from './packet.ts';
import { HUNG } from './process.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

export const families = ['ipv4', 'ipv6'] as const;

/** Times that no test outlasts, for services whose time-outs are not under test. */
export const patient = { knockTimeout: '5m', openFor: '5m' } as const;

/** A service that suits most tests. */
export const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234], ...patient } as const;
/** Its knocks, for `Host.knock`. */
export const sshKnocks = ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp'] as const;

/** Writes the file and loads it. If that fails, throws the command's own words. */
export async function load(world: World, config: object): Promise<void> {
  world.write(config);
  const { status, stdout, stderr } = await world.knockd(['load']);
  if (status !== 0) throw new Error(`load ended with ${status}: ${stdout}${stderr}`);
}

/** A new world, loaded. */
export async function loadedWorld(
  t: Pick<Test, 'teardown'>,
  config: object,
  options: WorldOptions = {},
): Promise<World> {
  const world = await createWorld(t, options);
  await load(world, config);
  return world;
}

export async function status(world: World): Promise<Status> {
  const { status, stdout, stderr } = await world.knockd(['status', '--json']);
  if (status !== 0) throw new Error(`status ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Status;
}

/** The clients in mid-sequence: `10.77.0.2 ssh 2/4`, `10.77.0.2 admin alice 1/3`. */
export async function knocking(world: World): Promise<string[]> {
  const found = (await status(world)).knocking;
  return found
    .map(({ address, service, user, step, of }) =>
      [address, service, user, `${step}/${of}`].filter(Boolean).join(' '),
    )
    .sort();
}

/** A service's clients, as `10.77.0.2`, `10.77.0.2 alice`, and its counters. */
export async function serviceOf(world: World, name: string) {
  const service = (await status(world)).services[name];
  if (!service) throw new Error(`status knows no service ${name}`);
  const { clients, opened, accepted, refused } = service;
  const who = clients.map(({ address, user }) => [address, user].filter(Boolean).join(' ')).sort();
  return { clients: who, opened, accepted, refused };
}

/** Asks until `holds` accepts the answer, and returns it. Rejects after `seconds`, when it counts as hung. */
export async function until<Answer>(
  ask: () => Promise<Answer>,
  holds: (answer: Answer) => boolean,
  seconds = HUNG / 1000,
): Promise<Answer> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
    if (performance.now() > deadline)
      throw new Error(`after ${seconds} s still ${JSON.stringify(answer)} at ${holds}`);
    await delay(20);
  }
}

/** Everything that distinguishes one answer from another, without its ports. */
export function look({ protocol, flags, type, code, ttl, trafficClass, size, about }: Seen): string {
  const quoted = about ? `about ${about.size}` : '';
  return [protocol, flags.join('+'), type, code, ttl, trafficClass, `size ${size}`, quoted].join(' ');
}

/** The answer to the client for each of the packets, as {@link look}; `silence` if there is none. */
export async function answers(
  world: World,
  packets: readonly Omit<Packet, 'sourcePort'>[],
  milliseconds = 400,
): Promise<string[]> {
  const client = world.host('client');
  const captured = await client.capture();
  await client.send(packets.map((packet, index) => ({ ...packet, sourcePort: 18000 + index })));
  const seen = await captured.end(milliseconds);
  return packets.map((_, index) => {
    const mine = seen.filter(it => (it.about?.sourcePort ?? it.port) === 18000 + index);
    return mine.map(look).join(', ') || 'silence';
  });
}
