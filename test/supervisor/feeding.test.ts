/** The supervisor's care for tokens, without a kernel. */
import t from 'tap';
import { monotonic } from '../../src/host/clock.ts';
import { Tokens } from '../../src/supervisor/tokens.ts';
import type { Writer } from '../../src/table/writer.ts';

/** Tokens that were fed just now. `asked` has what the kernel is asked about; `fails` makes each change fail. */
function fed() {
  const now = monotonic();
  const asked: string[] = [];
  const world = { fails: false, asked, now };
  const connection = {
    dump: async ({ subject }: { readonly subject: string }) => {
      asked.push(subject);
      return [];
    },
  };
  const tokens = new Tokens({
    env: {},
    writes: {
      isQuiet: true,
      run: async use => {
        if (world.fails) throw new Error('no memory');
        return use({ connection } as unknown as Writer);
      },
    },
    warn: () => {},
    settle: async () => true,
  });
  tokens.fed(
    { table: 'knockd', users: [], realm: 'default', hours: 1 },
    { is: 'fed', users: 0, until: 0, from: undefined, why: undefined, unkept: undefined, used: [] },
    now,
  );
  return Object.assign(world, { tokens });
}

t.test('however often it failed, tokens are topped up again half a minute later', async t => {
  const world = fed();
  world.fails = true;
  for (let failure = 0; failure < 40; failure++) {
    world.tokens.tick(world.now);
    await world.tokens.settled();
  }
  t.equal(world.tokens.standing.is, 'failed');
  world.fails = false;
  const { now: clock } = Date;
  t.teardown(() => Object.assign(Date, { now: clock }));
  Date.now = () => clock() + 31_000;
  world.tokens.tick(world.now + 31_000);
  await world.tokens.settled();
  t.notOk(world.asked.includes('elements of used'), 'it does not only look for uses');
});
