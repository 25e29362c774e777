/** The cost of more services: of a load, in memory, and for a packet that has nothing to do with them. */
import { setTimeout as delay } from 'node:timers/promises';
import { createWorld } from '../../test/kernel/world.ts';
import { quantile } from '../figures.ts';
import { nft, sendStreams, track } from '../packets.ts';
import { behind } from './firewalls.ts';
import { spread } from './measures.ts';
import { pss } from './memory.ts';
import { BUSY_PORT } from './pump.ts';
import type { Growth, Report } from './report.ts';
import type { Rival, Standing } from './rival.ts';

export const COUNTS = [1, 10, 100, 1000] as const;
const ROUNDS = 150;

type Loaded = Omit<Growth, 'unrelated' | 'running'> & { readonly host: string };

/** Measures all rivals side by side, with each number of services. Calls `skip` for a rival that cannot do it. */
export async function measureGrowth(
  rivals: readonly Rival[],
  skip: (what: string) => void,
): Promise<Report['growth']> {
  const growth: Record<string, Growth[]> = {};
  for (const services of COUNTS) {
    const ends: (() => unknown)[] = [];
    try {
      const t = { teardown: (end: () => unknown) => void ends.push(end) };
      for (const { host, ...grown } of await grow(t, rivals, services, skip))
        growth[host] = [...(growth[host] ?? []), grown];
    } finally {
      for (const end of ends) await end();
    }
  }
  return growth;
}

async function grow(
  t: Parameters<typeof createWorld>[0],
  rivals: readonly Rival[],
  services: number,
  skip: (what: string) => void,
): Promise<readonly (Growth & { readonly host: string })[]> {
  const world = await createWorld(t, { clients: ['sender', ...rivals.map(({ host }) => host)] });
  const loaded: Loaded[] = [];
  for (const rival of rivals) {
    const { host, name } = rival;
    const what = `${name} with ${services} services`;
    await nft(world, host, behind);
    const stood: Standing[] = [];
    const times = services < 1000 ? 3 : 2;
    try {
      for (let time = 1; time <= times; time++) {
        const standing = await rival.stand(world, host, services);
        stood.push(standing);
        if (time === times) break;
        await standing.remove();
        await nft(world, host, behind); // it was removed with the rest
        await delay(300); // the kernel frees what was removed a little later
      }
    } catch (error) {
      skip(`${what}: ${error instanceof Error ? error.message : error}`);
      continue;
    }
    const pids = stood.at(-1)?.pids ?? [];
    if (pids.length > 0) await delay(1000); // until the daemon has started up
    loaded.push({
      host,
      services,
      load: spread(stood.map(({ milliseconds }) => milliseconds)),
      kernel: spread(stood.map(({ kernel }) => kernel)),
      ...(pids.length > 0 && { pss: pss(pids) }),
    });
    if (host !== 'none') await track(world, host, BUSY_PORT);
  }
  const lanes = loaded.map(({ host }) => world.addresses(host).ipv4);
  const streams = [
    ...lanes.map(to => ({ to, ports: [9999] })),
    ...lanes.map(to => ({ to, ports: [BUSY_PORT], running: true as const })),
  ];
  const samples = await sendStreams(world, { streams, rounds: ROUNDS });
  const cost = (index: number) => quantile(samples[index] ?? [], 0.1);
  return loaded.map((it, index) => ({ ...it, unrelated: cost(index), running: cost(lanes.length + index) }));
}
