import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { HUNG, type Running } from '../kernel/process.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';
import * as unit from './unit.ts';

/** Shared by all tests of the supervisor. */
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

/** A world with a supervisor on the server, which has loaded `config`. `asUnit` starts it as its unit does: memory depends on that. */
export async function supervised(t: Test, config: object | string, asUnit = false): Promise<Supervised> {
  const world = await createWorld(t);
  world.write(config);
  const folder = dirname(world.configFile);
  const environment = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  mkdirSync(environment.RUNTIME_DIRECTORY, { recursive: true });
  const supervisor = asUnit
    ? world.start(
        'server',
        process.execPath,
        [...unit.flags, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'],
        { ...unit.environment, ...environment },
      )
    : world.startKnockd(['run'], environment);
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

/** Asks again until the answer is right, until that counts as hung. Returns the last answer. */
export async function until<T>(
  ask: () => Promise<T>,
  right: (answer: T) => boolean,
  seconds = HUNG / 1000,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (right(answer) || Date.now() > end) return answer;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}
