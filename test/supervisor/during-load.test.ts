import { readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { HUNG, type Running } from '../kernel/process.ts';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

const others = Array.from({ length: 300 }, (_, index) => [
  `other${index}`,
  { ports: [100 + index], sequence: [20_000 + index, 30_000 + index, 40_000 + index] },
]);
/** So many services make a load take as long as the knocks. */
const large = { services: { ssh: { ...ssh, openFor: '10m' }, ...Object.fromEntries(others) } };

/** Asks for loads until the thread of one is seen. */
async function loading({ pid, signal }: Running): Promise<void> {
  const threads = () => readdirSync(`/proc/${pid}/task`);
  const before = new Set(threads());
  const isNew = (thread: string) => !before.has(thread); // one of the load before may still end
  for (const hung = Date.now() + HUNG; Date.now() < hung; ) {
    signal('SIGHUP');
    for (const end = Date.now() + 2000; Date.now() < end; await setTimeout(1))
      if (threads().some(isNew)) return;
  }
  throw new Error('no thread began');
}

t.test(
  'a client that comes in during a load stays in when another program then removes the table',
  { skip },
  async t => {
    const { world, supervisor, event } = await supervised(t, large);
    await world.host('server').listen(22);
    const client = world.host('client');
    await loading(supervisor);
    await client.knock(world.server.ipv4, knocks);
    await event('opened');
    await world.nft('delete table inet knockd');
    await event('(loaded|restored)');
    t.equal(
      await until(
        () => client.connect(world.server.ipv4, 22),
        reach => reach === 'open',
        10,
      ),
      'open',
    );
  },
);

t.test(
  'unload beside a supervisor that is about to end leaves nothing loaded, or says so',
  { skip },
  async t => {
    const { world, supervisor, environment } = await supervised(t, large);
    await loading(supervisor);
    supervisor.signal('SIGTERM');
    await supervisor.line(/"event":"stopped"/);
    const { status, stderr } = await world.knockd(['unload'], { env: environment });
    await supervisor.ended;
    const isThere = /table inet knockd/.test(await world.list());
    t.ok(status === 0 ? !isThere : /a supervisor runs/.test(stderr), `${status} ${stderr}`);
  },
);
