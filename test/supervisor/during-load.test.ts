import { readdirSync } from 'node:fs';
import t from 'tap';
import { knocks, skip, ssh, supervised, until } from './supervised.ts';

t.test(
  'a client that comes in during a load stays in when another program then removes the table',
  { skip },
  async t => {
    const others = Array.from({ length: 300 }, (_, index) => [
      `other${index}`,
      { ports: [100 + index], sequence: [20_000 + index, 30_000 + index, 40_000 + index] },
    ]);
    // so many that the load takes as long as the knocks
    const { world, supervisor, event } = await supervised(t, {
      services: { ssh: { ...ssh, openFor: '10m' }, ...Object.fromEntries(others) },
    });
    await world.host('server').listen(22);
    const client = world.host('client');
    const threads = () => readdirSync(`/proc/${supervisor.pid}/task`).length;
    const before = threads();
    supervisor.signal('SIGHUP');
    await until(
      async () => threads(),
      now => now > before,
    );
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
