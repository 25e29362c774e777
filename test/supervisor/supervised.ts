import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import type { Running } from '../kernel/process.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';

/** What every test of the supervisor needs. */
export const skip = missing('namespaces', 'nft', 'knockd');

export const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234], openFor: '30s' };
export const knocks = ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp'];

/** A line of the journal, as JSON. */
export interface Line {
  readonly event?: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Supervised {
  readonly world: World;
  readonly supervisor: Running;
  /** The folders that systemd gives: RUNTIME_DIRECTORY and STATE_DIRECTORY. */
  readonly environment: Readonly<Record<string, string>>;
  /** The next line of that event. */
  readonly event: (name: string, timeout?: number) => Promise<Line>;
  /** All events so far. */
  readonly events: () => readonly Line[];
}

/** A world with a supervisor on the server, which has loaded `config`. */
export async function supervised(t: Test, config: object | string): Promise<Supervised> {
  const world = await createWorld(t);
  world.write(config);
  const folder = dirname(world.configFile);
  const environment = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  mkdirSync(environment.RUNTIME_DIRECTORY, { recursive: true });
  const supervisor = world.startKnockd(['run'], environment);
  const event = async (name: string, timeout?: number): Promise<Line> =>
    JSON.parse(await supervisor.line(new RegExp(`"event":"${name}"`), timeout)) as Line;
  const events = () =>
    supervisor
      .lines()
      .filter(line => line.startsWith('{'))
      .map(line => JSON.parse(line) as Line);
  await event('(loaded|invalid|unchanged|swapped)');
  return { world, supervisor, environment, event, events };
}

/** Asks again until the answer is right, for at most `seconds`. Returns the last answer. */
export async function until<T>(
  ask: () => Promise<T>,
  right: (answer: T) => boolean,
  seconds = 60,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (right(answer) || Date.now() > end) return answer;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}
