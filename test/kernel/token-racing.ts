/** Races of two copies of a token, for the tests and the benchmark. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { patient } from './loaded.ts';
import type { Race } from './racer.ts';
import { GOOD, tokenWorld } from './token-world.ts';

const HOURS = 24;
/** Windows that stay good for as long as a test takes. */
const EACH = 60 * HOURS - GOOD;

export interface Outcome {
  readonly races: number;
  /** Openings in all, and used tokens. Both equal `races` if one of each two copies opened. */
  readonly opened: number;
  readonly used: number;
  readonly repeated: number;
}

/** Sends `races` tokens, each from two hosts at the same instant. `before` may change what was loaded. */
export async function raceTokens(
  t: Pick<Test, 'teardown'>,
  races: number,
  before: (world: Awaited<ReturnType<typeof tokenWorld>>) => Promise<void> = async () => {},
): Promise<Outcome> {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  const secrets = Array.from({ length: Math.ceil(races / EACH) }, (_, index) =>
    createHash('sha256').update(String(index)).digest(),
  );
  const users = Object.fromEntries(secrets.map((secret, index) => [`u${index}`, secret.toString('hex')]));
  await world.load({ services: { ssh: { ports: [22], tokens: users, ...patient } } });
  await before(world);
  const first = windowAt(Date.now()) + GOOD;
  const tokens = secrets.flatMap(secret =>
    Array.from({ length: EACH }, (_, index) =>
      deriveToken({ secret, realm: 'default', service: 'ssh' }, first + index),
    ),
  );
  const race: Race = {
    hosts: ['client', 'stranger'].map(name => ({ name, from: world.addresses(name).ipv4 })),
    to: world.server.ipv4,
    port: 62201,
    tokens: tokens.slice(0, races),
  };
  const program = fileURLToPath(new URL('./racer.js', import.meta.url));
  const { status, stderr } = await world.run('server', process.execPath, [program], {
    input: JSON.stringify(race),
    timeout: 600_000,
  });
  if (status !== 0) throw new Error(`racer: ${stderr}`);
  const nft = async (...args: readonly string[]) => (await world.run('server', 'nft', args)).stdout;
  const counters = await nft('list', 'counters', 'table', 'inet', 'knockd');
  const packets = (name: string) =>
    Number(new RegExp(`counter ${name} \\{\\s+packets (\\d+)`).exec(counters)?.[1]);
  const used = (await nft('list', 'set', 'inet', 'knockd', 'used')).match(/expires/g)?.length ?? 0;
  return { races, opened: packets('ssh_opened'), used, repeated: packets('repeated_tokens') };
}
