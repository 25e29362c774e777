import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import type { Config, Service } from '../../src/config/types.ts';
import type { Port } from '../../src/inet/port.ts';
import { type Automaton, compileAutomaton, type Place, START } from '../../src/ruleset/automaton.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { config } from './arbitrary.ts';

function parse(services: Readonly<Record<string, unknown>>): Config {
  return parseConfig(JSON.stringify({ services }), 'FILE', {}).config;
}

const word = ({ protocol, port }: Port) => `${port}/${protocol}`;

/** The knocks that lead to each place: `7001/udp 7003/tcp`. */
function prefixes({ steps }: Automaton): Map<Place, string> {
  const paths = new Map<Place, string>([[START, '']]);
  for (const { from, knock, to } of steps) paths.set(to, `${paths.get(from) ?? '?'} ${word(knock)}`.trim());
  return paths;
}

/** An automaton in words, whatever the order in which it was compiled. */
function describe(automaton: Automaton) {
  const paths = prefixes(automaton);
  return {
    places: new Map([...paths].toSorted(([a], [b]) => a - b)),
    steps: new Map(automaton.steps.map(({ to, labels }) => [paths.get(to), labels.toSorted()])),
    repeats: automaton.repeats.map(({ place, knock }) => `${paths.get(place)}: ${word(knock)}`).toSorted(),
    arrivals: new Map(
      automaton.arrivals.map(({ place, ...does }) => [paths.get(place), JSON.stringify(does)]),
    ),
    knocks: automaton.knocks.map(word).toSorted(),
  };
}

function service(name: string, ...sequences: readonly (readonly Port[])[]): Service {
  return {
    name,
    ports: [],
    sequences: sequences.map((knocks, index) => ({ user: `user${index}`, knocks })),
    tokens: [],
    knockTimeout: 5000,
    openFor: 10_000,
    singleUse: false,
    closed: 'drop',
  };
}

const shuffle = <T>(list: readonly T[]) =>
  fc.shuffledSubarray([...list], { minLength: list.length, maxLength: list.length });

t.test('places do not depend on the order of services and sequences in the file', async () => {
  const pair = config.chain(({ services }) =>
    fc.tuple(
      fc.constant(services),
      shuffle(services).chain(list =>
        fc.tuple(
          ...list.map(item => shuffle(item.sequences).map((sequences): Service => ({ ...item, sequences }))),
        ),
      ),
    ),
  );
  fc.assert(
    fc.property(pair, ([services, shuffled]) => {
      assert.deepEqual(
        describe(compileAutomaton(shuffled, 'default')),
        describe(compileAutomaton(services, 'default')),
      );
    }),
    { numRuns: 200 },
  );
});

t.test(
  'places are a number of their own for each beginning of a sequence, never that of the start',
  async () => {
    fc.assert(
      fc.property(config, ({ services }) => {
        const { arrivals, steps } = compileAutomaton(services, 'default');
        const beginnings = new Set(
          services.flatMap(({ sequences }) =>
            sequences.flatMap(({ knocks }) =>
              knocks.map((_, end) =>
                knocks
                  .slice(0, end + 1)
                  .map(word)
                  .join(' '),
              ),
            ),
          ),
        );
        const places = new Set(arrivals.map(({ place }) => place));
        assert.equal(places.size, beginnings.size);
        assert.equal(steps.length, beginnings.size, 'sequences with the same beginning share it');
        assert.ok(!places.has(START));
        assert.ok([...places].every(place => Number.isInteger(place) && place > 0 && place <= 0xffffffff));
      }),
      { numRuns: 200 },
    );
  },
);

t.test('a sequence more or less leaves a client of the others where it is', async () => {
  fc.assert(
    fc.property(config, fc.nat(5), ({ services }, left) => {
      const all = prefixes(compileAutomaton(services, 'default'));
      const fewer = prefixes(
        compileAutomaton(
          services.filter((_, index) => index !== left % services.length),
          'default',
        ),
      );
      for (const [place, path] of fewer) assert.equal(all.get(place), path);
    }),
    { numRuns: 200 },
  );
});

/** Two sequences of two knocks that end in the same place when each is alone: in a 32-bit hash, one of some 100,000. */
function findCollision(): readonly [Port[], Port[]] {
  const seen = new Map<Place | undefined, Port[]>();
  for (let number = 1; ; number++) {
    // a linear congruential generator (Numerical Recipes); the high bits are the random ones
    const random = (round: number) => {
      let state = number * 4 + round;
      for (let turn = 0; turn < 4; turn++)
        state = (Math.imul(state ^ (state >>> 15), 1664525) + 1013904223) | 0;
      return state >>> 15;
    };
    const knocks = [0, 1].map(round => {
      const bits = random(round);
      return { protocol: bits & 0x10000 ? ('udp' as const) : ('tcp' as const), port: bits & 0xffff || 1 };
    });
    const place = compileAutomaton([service('s', knocks)], 'default').arrivals.at(-1)?.place;
    const other = seen.get(place);
    if (other && other.map(word).join() !== knocks.map(word).join()) return [other, knocks];
    seen.set(place, knocks);
  }
}

t.test('two sequences whose places collide get different ones, the same ones in any order', async t => {
  const [a, b] = findCollision();
  const alone = (knocks: Port[]) =>
    compileAutomaton([service('alone', knocks)], 'default').arrivals.at(-1)?.place;
  t.equal(alone(a), alone(b), `${a.map(word).join(' ')} and ${b.map(word).join(' ')}`);

  const ends = (automaton: Automaton) => {
    const paths = new Map([...prefixes(automaton)].map(([place, path]) => [path, place]));
    return [a, b].map(knocks => paths.get(knocks.map(word).join(' ')));
  };
  const orders = [
    [service('one', a), service('two', b)],
    [service('two', b), service('one', a)],
    [service('both', a, b)],
    [service('both', b, a)],
  ].map(services => ends(compileAutomaton(services, 'default')));
  const [first] = orders;
  t.not(first?.[0], first?.[1]);
  t.ok(first?.includes(alone(a)), 'one of them stays');
  for (const order of orders) t.strictSame(order, first);

  const bystander = [{ protocol: 'tcp' as const, port: 1 }, ...a];
  const places = prefixes(compileAutomaton([service('both', a, b), service('by', bystander)], 'default'));
  const single = prefixes(compileAutomaton([service('by', bystander)], 'default'));
  for (const [place, path] of single) t.equal(places.get(place), path, 'all others stay');
});

const EXAMPLE = {
  ssh: { ports: [22], sequence: [10000, 2345, 3456, 1234], knockTimeout: '5s' },
  admin: {
    ports: [8443],
    sequences: { alice: ['7001/udp', 7003, '7002/udp'], bob: ['7001/udp', 7004] },
    knockTimeout: '2s',
  },
};

t.test('two services become the places, steps and repeats of the worked example', async t => {
  const { places, ...rest } = describe(compileAutomaton(parse(EXAMPLE).services, 'default'));
  const [ssh1, ssh2, ssh3, ssh4] = [
    '10000/tcp',
    '10000/tcp 2345/tcp',
    '10000/tcp 2345/tcp 3456/tcp',
    '10000/tcp 2345/tcp 3456/tcp 1234/tcp',
  ] as const;
  const [both1, alice2, alice3, bob2] = [
    '7001/udp',
    '7001/udp 7003/tcp',
    '7001/udp 7003/tcp 7002/udp',
    '7001/udp 7004/tcp',
  ] as const;
  t.strictSame(new Set(places.values()), new Set(['', ssh1, ssh2, ssh3, ssh4, both1, alice2, alice3, bob2]));
  t.strictSame(rest, {
    steps: new Map([
      [ssh1, ['ssh 1/4']],
      [ssh2, ['ssh 2/4']],
      [ssh3, ['ssh 3/4']],
      [ssh4, ['ssh 4/4']],
      [both1, ['admin alice 1/3', 'admin bob 1/2']],
      [alice2, ['admin alice 2/3']],
      [alice3, ['admin alice 3/3']],
      [bob2, ['admin bob 2/2']],
    ]),
    repeats: [
      `${ssh1}: 10000/tcp`,
      `${ssh2}: 10000/tcp`,
      `${ssh2}: 2345/tcp`,
      `${ssh3}: 10000/tcp`,
      `${ssh3}: 2345/tcp`,
      `${ssh3}: 3456/tcp`,
      `${both1}: 7001/udp`,
      `${alice2}: 7001/udp`,
      `${alice2}: 7003/tcp`,
    ].toSorted(),
    arrivals: new Map([
      [ssh1, '{"does":"start","timeout":5000}'],
      [ssh2, '{"does":"wait","timeout":5000}'],
      [ssh3, '{"does":"wait","timeout":5000}'],
      [ssh4, '{"does":"open","service":"ssh","user":null}'],
      [both1, '{"does":"start","timeout":2000}'],
      [alice2, '{"does":"wait","timeout":2000}'],
      [alice3, '{"does":"open","service":"admin","user":"alice"}'],
      [bob2, '{"does":"open","service":"admin","user":"bob"}'],
    ]),
    knocks: ['10000/tcp', '1234/tcp', '2345/tcp', '3456/tcp', '7001/udp', '7002/udp', '7003/tcp', '7004/tcp'],
  });
});

t.test('a knock that advances is no repeat, though it was made before', async t => {
  const { repeats, places } = describe(
    compileAutomaton(parse({ ssh: { ports: [22], sequence: [1000, 2000, 1000, 3000] } }).services, 'default'),
  );
  t.equal(places.size, 5);
  t.notOk(repeats.includes('1000/tcp 2000/tcp: 1000/tcp'));
  t.ok(repeats.includes('1000/tcp 2000/tcp 1000/tcp: 1000/tcp'));
  t.ok(repeats.includes('1000/tcp 2000/tcp 1000/tcp: 2000/tcp'));
});

t.test(
  'a place that services share waits for the longest of their pauses, their own places for their own',
  async t => {
    const { arrivals } = describe(
      compileAutomaton(
        parse({
          slow: { ports: [22], sequence: [1000, 2000, 3000, 4000], knockTimeout: '1m' },
          fast: { ports: [23], sequence: [1000, 2000, 5000, 6000], knockTimeout: '1s' },
        }).services,
        'default',
      ),
    );
    t.equal(arrivals.get('1000/tcp'), '{"does":"start","timeout":60000}');
    t.equal(arrivals.get('1000/tcp 2000/tcp'), '{"does":"wait","timeout":60000}');
    t.equal(arrivals.get('1000/tcp 2000/tcp 3000/tcp'), '{"does":"wait","timeout":60000}');
    t.equal(arrivals.get('1000/tcp 2000/tcp 5000/tcp'), '{"does":"wait","timeout":1000}');
  },
);

t.test('rules do not grow with sequences, and by a few with each service', async t => {
  const users = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, user) => [`user${user}`, [1000, 2001 + user, 9000]]),
    );
  const services = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [
        `s${index}`,
        { ports: [100 + index], sequence: [1000, 2001 + index, 9000] },
      ]),
    );
  const rules = (written: Readonly<Record<string, unknown>>) =>
    compile(parse(written), '0').chains.reduce((sum, chain) => sum + chain.rules.length, 0);
  t.equal(
    rules({ ssh: { ports: [22], sequences: users(1000) } }),
    rules({ ssh: { ports: [22], sequences: users(1) } }),
  );
  const [one, two, many] = [1, 2, 500].map(count => rules(services(count)));
  const each = (two ?? 0) - (one ?? 0);
  t.ok(each <= 16, `${each} for a service`);
  t.equal(many, (one ?? 0) + 499 * each);
});
