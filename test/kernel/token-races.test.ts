/** The same token from two hosts, on two processors, at the same instant. */
import t from 'tap';
import { raceTokens } from './token-racing.ts';
import { missing } from './world.ts';

const RACES = 20_000;

t.test(
  'exactly one of two copies of a token that come at the same instant opens',
  { skip: missing('namespaces', 'nft', 'knockd') },
  async t => {
    const { opened, used, repeated } = await raceTokens(t, RACES);
    t.same({ opened, used, repeated }, { opened: RACES, used: RACES, repeated: RACES });
  },
);
