/** Visitors that come to the server all the time: a stranger, clients with sequences and with tokens, and clients that stay. */
import { setTimeout as delay } from 'node:timers/promises';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { families } from '../kernel/loaded.ts';
import { GOOD } from '../kernel/token-world.ts';
import type { World } from '../kernel/world.ts';
import type { Numbers } from '../numbers.ts';
import type { Diary } from './diary.ts';
import { HOURS, KNOCKS, PORTS, PUBLIC, SECRETS, type Service, type User } from './file.ts';
import type { Opening, Span, Timeline } from './timeline.ts';

type Family = (typeof families)[number];

/** The things that all visitors share. */
export interface Visited {
  readonly world: World;
  readonly diary: Diary;
  readonly timeline: Timeline;
  /** Tokens that opened, for a stranger to repeat. */
  readonly used: string[];
}

/** Addresses of the host `client`, in both families: each visit has the next one. */
const ADDRESSES = 60;
const FIRST_ADDRESS = 100;
const addressOf = (family: Family, index: number) =>
  family === 'ipv4' ? `10.77.0.${FIRST_ADDRESS + index}` : `fd77::${(FIRST_ADDRESS + index).toString(16)}`;

/** Shorter than Linux's wait before it sends a SYN again, so that an answer in time is one to the first SYN. */
const PATIENCE = 900; // ms

const knocksOf = (ports: readonly number[]) => ports.map(port => `${port}/tcp`);

/** Waits, but not beyond the end. */
export async function pause(diary: Diary, milliseconds: number): Promise<void> {
  await delay(milliseconds, undefined, { signal: diary.ended }).catch(() => {});
}

async function timed<Result>(
  diary: Diary,
  act: () => Promise<Result>,
): Promise<Span & { readonly result: Result }> {
  const from = diary.now();
  const result = await act();
  return { from, to: diary.now(), result };
}

/** Gives the client its addresses. */
export async function settleIn(world: World): Promise<void> {
  const commands = Array.from({ length: ADDRESSES }, (_, index) => [
    `addr add ${addressOf('ipv4', index)}/24 dev eth0`,
    `addr add ${addressOf('ipv6', index)}/64 dev eth0 nodad`,
  ]);
  const { status, stderr } = await world.run('client', 'ip', ['-batch', '-'], {
    input: `${commands.flat().join('\n')}\n`,
  });
  if (status !== 0) throw new Error(`ip: ${stderr}`);
}

/** Tries each guarded port all the time, with wrong sequences, and with tokens that others used. */
export async function stranger({ world, diary, timeline, used }: Visited, next: Numbers): Promise<void> {
  const host = world.host('stranger');
  const attempt = async (port: number, family: Family) => {
    const { result, ...span } = await timed(diary, () => host.connect(world.server[family], port));
    const may = timeline.mayBeOpen(port, span);
    diary.count(
      may ? 'attempts of a stranger while all may be open' : 'attempts of a stranger on a guarded port',
    );
    if (result === 'open' && !may) diary.violation(`a stranger got in to port ${port} over ${family}`);
  };
  const visitPublic = async (family: Family) => {
    const options = { timeout: PATIENCE };
    const { result, ...span } = await timed(diary, () => host.connect(world.server[family], PUBLIC, options));
    diary.count('visits to a public port');
    if (result !== 'open' && !timeline.isExposed(span))
      diary.violation(`a stranger found public port ${PUBLIC} ${result} over ${family}`);
  };
  while (!diary.ended.aborted) {
    const family = next.of(families);
    const to = world.server[family];
    const sequence = next.of<readonly number[]>([KNOCKS.ssh, KNOCKS.once]);
    await host.knock(to, knocksOf(sequence.slice(0, -2))); // a beginning, and then all in the wrong order
    await host.knock(to, knocksOf(sequence.toReversed()));
    const token = used[next.below(Math.max(used.length, 1))];
    if (token !== undefined) {
      await host.send([{ protocol: 'udp', to, port: 62201, payload: tokenDatagram(token) }]);
      diary.count('tokens that a stranger repeated');
    }
    await Promise.all([...timeline.guarded.map(port => attempt(port, family)), visitPublic(family)]);
    await pause(diary, 200);
  }
}

/** The addresses take turns, so that a client is out long before it comes again. */
let turn = 0;
const nextAddress = (family: Family) => addressOf(family, turn++ % ADDRESSES);

/** Asks whether the client is in, and compares with what was promised. */
async function ask(visited: Visited, who: Client, opening: Opening, when: string): Promise<void> {
  const { world, diary, timeline } = visited;
  const { from, to, family, service } = who;
  const { result, ...span } = await timed(diary, () =>
    world.host('client').connect(to, PORTS[service], { from, timeout: PATIENCE }),
  );
  const expected = timeline.expected(opening, span);
  diary.count(
    `visits to ${service} that had to find it ${expected === 'either' ? 'open or closed' : expected}`,
  );
  if (expected !== 'either' && (result === 'open') !== (expected === 'open'))
    diary.violation(
      `${from} found ${service} ${result} over ${family} ${when}, and it had to be ${expected}`,
    );
}

interface Client {
  readonly service: Service;
  readonly family: Family;
  readonly from: string;
  readonly to: string;
}

function newClient({ world }: Visited, service: Service, next: Numbers): Client {
  const family = next.of(families);
  return { service, family, from: nextAddress(family), to: world.server[family] };
}

/** Comes in at once, again in between, and asks when its time is over. */
async function stay(visited: Visited, client: Client, opening: Opening, next: Numbers): Promise<void> {
  const { diary, timeline } = visited;
  await ask(visited, client, opening, 'right after it knocked');
  while (!diary.ended.aborted) {
    await pause(diary, 500 + next.below(3000));
    const span = { from: diary.now(), to: diary.now() };
    await ask(visited, client, opening, `${Math.round(span.from - opening.to)} ms after it knocked`);
    if (timeline.expected(opening, span) === 'closed') return;
  }
}

/** Knocks with a sequence. Returns when. */
async function knock({ world, diary }: Visited, { service, from, to }: Client): Promise<Opening> {
  const sequence = service === 'once' ? KNOCKS.once : KNOCKS.ssh;
  const knocks = knocksOf(sequence);
  const span = await timed(diary, () => world.host('client').knock(to, knocks, { from }));
  diary.count(`sequences for ${service}`);
  const by = service === 'once' ? 'sequence for a single use' : 'sequence';
  return { from: span.from, to: span.to, by };
}

/** Clients with a sequence, one after the other. */
export async function knockers(visited: Visited, next: Numbers): Promise<void> {
  while (!visited.diary.ended.aborted) {
    const client = newClient(visited, 'ssh', next);
    await stay(visited, client, await knock(visited, client), next);
    await pause(visited.diary, next.below(1000));
  }
}

/** Clients whose opening is for one connection. */
export async function singleUsers(visited: Visited, next: Numbers): Promise<void> {
  const { world, diary, timeline } = visited;
  while (!diary.ended.aborted) {
    const client = newClient(visited, 'once', next);
    const opening = await knock(visited, client);
    await ask(visited, client, opening, 'right after it knocked');
    const again = await timed(diary, () =>
      world.host('client').connect(client.to, PORTS.once, { from: client.from }),
    );
    diary.count('second connections by an opening for one');
    if (again.result === 'open' && !timeline.mayBeOpen(PORTS.once, { from: opening.from, to: again.to }))
      diary.violation(`${client.from} came in twice by an opening for a single use`);
    await pause(diary, 3000 + next.below(4000));
  }
}

/** Clients with one-time tokens, each of one device. */
export async function tokenBearers(visited: Visited, next: Numbers, user: User): Promise<void> {
  const { world, diary, timeline, used } = visited;
  let last = 0;
  while (!diary.ended.aborted) {
    await pause(diary, 2000 + next.below(4000));
    const here = windowAt(Date.now());
    const window = Math.max(last + 1, here + GOOD);
    if (window > here + HOURS * 60) continue; // all are used
    last = window;
    const token = deriveToken(
      { secret: Buffer.from(SECRETS[user], 'hex'), realm: 'default', service: 'web' },
      window,
    );
    const client = newClient(visited, 'web', next);
    const packet = { protocol: 'udp', from: client.from, to: client.to, port: 62201 } as const;
    const span = await timed(diary, () =>
      world.host('client').send([{ ...packet, payload: tokenDatagram(token) }]),
    );
    diary.count('tokens');
    const opening = { from: span.from, to: span.to, by: 'token' } as const;
    await ask(visited, client, opening, 'right after its token');
    const wasUsed = timeline.expected(opening, { from: opening.to, to: opening.to }) === 'open';
    if (wasUsed) used.push(token);
    await stay(visited, client, opening, next);
  }
}

/** Connections that stay for a while, whatever happens to rules and openings. */
export async function guests(visited: Visited, next: Numbers): Promise<void> {
  const { world, diary, timeline } = visited;
  while (!diary.ended.aborted) {
    const client = newClient(visited, 'ssh', next);
    await ask(visited, client, await knock(visited, client), 'before it stays');
    const session = await world
      .host('client')
      .open(client.to, PORTS.ssh, { from: client.from })
      .catch(() => undefined); // the visit before says whether that is wrong
    if (!session) continue;
    const leaves = diary.now() + 5000 + next.below(next.chance(0.2) ? 600_000 : 30_000);
    for (let message = 1; diary.now() < leaves && !diary.ended.aborted; message++) {
      const { result, ...span } = await timed(diary, () => session.send(`message ${message}\n`));
      diary.count('messages over open sessions');
      if (result === 'dead' && !timeline.isExposed(span))
        diary.violation(`the session of ${client.from} over ${client.family} is dead`);
      await pause(diary, 500 + next.below(2000));
    }
    await session.close();
  }
}

/** The program that people use. It knocks again until it is in, so it always gets in. */
export async function realClients({ world, diary }: Visited, next: Numbers): Promise<void> {
  while (!diary.ended.aborted) {
    await pause(diary, 10_000 + next.below(10_000));
    if (diary.ended.aborted) return;
    const to = world.server[next.of(families)];
    const knocks = KNOCKS.ssh.map(String);
    const args = ['knock', to, ...knocks, '--wait', String(PORTS.ssh), '--timeout', '30s'];
    const { status, stderr } = await world.knockd(args, { host: 'person', config: false });
    diary.count('runs of knockd-nft knock');
    if (status !== 0) diary.violation(`knockd-nft ${args.join(' ')} ended with ${status}: ${stderr}`);
  }
}
