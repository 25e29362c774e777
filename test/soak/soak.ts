/**
 * Everything that happens to a server in its life, at once and for as long as you like, between hosts in namespaces of their
 * own. It checks all the time that nobody is in without a knock, that no client that knocked is turned away, that sessions go on,
 * and that nothing grows.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { noteFresh } from '../../src/feeder/book.ts';
import { tokenWorld } from '../kernel/token-world.ts';
import { missing } from '../kernel/world.ts';
import { numbers } from '../numbers.ts';
import { Diary } from './diary.ts';
import { Disturber } from './disturbances.ts';
import { File, OTHER_PORTS, PORTS, PUBLIC, SECRETS, USERS } from './file.ts';
import { growths, measure, type Sample } from './measure.ts';
import { type Sabotage, sabotage, saboteurEnv } from './sabotage.ts';
import { Timeline } from './timeline.ts';
import {
  guests,
  knockers,
  pause,
  realClients,
  settleIn,
  singleUsers,
  stranger,
  tokenBearers,
} from './visitors.ts';

export const cannotSoak = missing('namespaces', 'nft', 'knockd');

export interface SoakOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Whether growth is a violation: in a few minutes everything grows. */
  readonly growth: boolean;
  readonly sabotage?: Sabotage;
  /** The soak ends with a violation like this. Without it with the first of all, so that everything is as it was then. */
  readonly until?: RegExp;
  readonly print: (line: string) => void;
}

export interface Soaked {
  /** As sentences, each with the operations before it. */
  readonly violations: readonly string[];
  /** Everything that was done. */
  readonly diary: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
  /** Of the last supervisor. */
  readonly samples: readonly Sample[];
  /** Milliseconds in which another program had removed or changed the rules, for each time. */
  readonly exposures: readonly number[];
}

/** Supervisors are ended in this first part of the time, and what the last one holds is measured in the rest. */
const WITH_KILLS = 0.4;
/** Memory that a new process takes before it comes to rest is no growth. */
const WARM_UP = 0.1;
const SAMPLES = 120;
const LEAST_PAUSE = 1000; // ms between two samples

export async function soak(t: Pick<Test, 'teardown'>, options: SoakOptions): Promise<Soaked> {
  const { seed, seconds, print } = options;
  const world = await tokenWorld(t, { clients: ['client', 'stranger', 'person'] });
  const { env } = world;
  const folders = Object.values(env);
  const diary = new Diary(print, options.until ?? /^/);
  const timeline = new Timeline(diary.now);
  const here = { world, diary, timeline, used: [] };
  await settleIn(world);
  for (const port of [...Object.values(PORTS), ...OTHER_PORTS, PUBLIC])
    await world.host('server').listen(port);
  await noteFresh(
    env,
    USERS.map(user => ({
      user,
      service: 'web',
      realm: 'default',
      secret: Buffer.from(SECRETS[user], 'hex'),
    })),
  );
  const file = new File(world.configFile, numbers(seed));
  const supervisorEnv = saboteurEnv(options.sabotage);
  const disturber = await Disturber.begin({ ...here, file, env, supervisorEnv }, numbers(seed + 1));

  const end = diary.now() + seconds * 1000;
  const lastKill = diary.now() + seconds * 1000 * WITH_KILLS;
  const firstSample = lastKill + (end - lastKill) * WARM_UP;
  const samples: Sample[] = [];
  const sample = async () => {
    await pause(diary, firstSample - diary.now());
    while (!diary.ended.aborted) {
      const measured = await measure(world, disturber.supervisor.pid, folders);
      samples.push(measured);
      diary.note(`measured: ${JSON.stringify(measured)}`);
      await pause(diary, Math.max((end - firstSample) / SAMPLES, LEAST_PAUSE));
    }
  };

  const actors = [
    disturber.disturb(() => diary.now() < lastKill),
    sample(),
    stranger(here, numbers(seed + 2)),
    singleUsers(here, numbers(seed + 3)),
    ...USERS.map((user, index) => tokenBearers(here, numbers(seed + 20 + index), user)),
    realClients(here, numbers(seed + 6)),
    ...[7, 8, 9].map(more => knockers(here, numbers(seed + more))),
    ...[10, 11, 12, 13].map(more => guests(here, numbers(seed + more))),
    ...(options.sabotage ? [sabotage(options.sabotage, { ...here, file, folders })] : []),
  ];
  const clock = delay(seconds * 1000, undefined, { signal: diary.ended }).catch(() => {});
  await Promise.race([clock, Promise.all(actors)]).catch(() => {}); // told below
  diary.end();
  for (const actor of await Promise.allSettled(actors))
    if (actor.status === 'rejected') diary.violation(`the soak itself failed: ${actor.reason}`);
  if (options.growth) for (const growth of growths(samples)) diary.violation(growth);
  const { violations, counts } = diary;
  return {
    violations,
    diary: diary.with(disturber.journal),
    counts,
    samples,
    exposures: timeline.exposures.map(({ from, to }) => to - from),
  };
}
