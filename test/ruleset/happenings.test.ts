/** The events that two looks at the kernel show for the time between them. */
import t from 'tap';
import { type Happening, happenings, happeningText, increases } from '../../src/ruleset/happenings.ts';
import { emptyStatus, type ServiceStatus, type Status } from '../../src/ruleset/status.ts';

const nobody: ServiceStatus = { ports: ['22/tcp'], clients: [], opened: 0, accepted: 0, refused: 0 };

function loaded(ssh: Partial<ServiceStatus> = {}, rest: Partial<Status> = {}): Status {
  const services = { ssh: { ...nobody, ...ssh } };
  return {
    loaded: true,
    inSync: true,
    guarded: true,
    table: 'knockd',
    services,
    knocking: [],
    wrongKnocks: 0,
    mistaken: [],
    ...rest,
  };
}

const client = (address: string, expires: number | null, user: string | null = null) => ({
  address,
  user,
  expires,
});
const knocker = (address: string, step: number, user: string | null = null, service = 'ssh') => ({
  address,
  service,
  user,
  step,
  of: 4,
  expires: 5,
});

function texts(before: Status | undefined, after: Status, seconds = 1): string[] {
  return happenings(before, after, seconds).map(happeningText);
}

t.test('nothing happened', async t => {
  const quiet = loaded(
    { clients: [client('192.0.2.7', 9)], opened: 3 },
    { knocking: [knocker('192.0.2.8', 2)] },
  );
  const later = loaded(
    { clients: [client('192.0.2.7', 7.9)], opened: 3 },
    { knocking: [{ ...knocker('192.0.2.8', 2), expires: 4 }] },
  );
  t.same(texts(quiet, later), []);
  t.same(texts(emptyStatus('knockd'), emptyStatus('knockd')), []);
});

t.test('the first look reports the clients that are there, and takes the counters as they are', async t => {
  const first = loaded(
    { clients: [client('192.0.2.7', 9), client('2001:db8::7', null, 'alice')], opened: 9, refused: 9 },
    { knocking: [knocker('192.0.2.8', 2)], wrongKnocks: 9 },
  );
  t.same(texts(undefined, first), [
    'table inet knockd: as the configuration says',
    '192.0.2.8 is knocking ssh 2/4',
    'ssh: 192.0.2.7 is in for 9s',
    'ssh: 2001:db8::7 (alice) is in for good',
  ]);
  t.same(texts(undefined, emptyStatus('knockd')), ['not loaded: nothing is guarded']);
});

t.test('a client knocks, is in, and is out', async t => {
  const steps = [
    loaded(),
    loaded({}, { knocking: [knocker('192.0.2.7', 2)] }),
    loaded({}, { knocking: [knocker('192.0.2.7', 3)] }),
    loaded({ clients: [client('192.0.2.7', 9.3)], opened: 1 }),
    loaded({ clients: [client('192.0.2.7', 8.3)], opened: 1, accepted: 2 }),
    loaded({ opened: 1, accepted: 2 }),
  ];
  t.same(
    steps.slice(1).map((after, index) => texts(steps[index], after)),
    [
      ['192.0.2.7 is knocking ssh 2/4'],
      ['192.0.2.7 is knocking ssh 3/4'],
      ['ssh: 192.0.2.7 is in for 10s'],
      ['ssh accepted 2'],
      ['ssh: 192.0.2.7 is out'],
    ],
  );
});

t.test(
  'a client that knocks again while it is in is in again; a grant without an end counts as longer',
  async t => {
    const at = (expires: number | null) => loaded({ clients: [client('192.0.2.7', expires)] });
    t.same(texts(at(5), at(9.4)), ['ssh: 192.0.2.7 is in for 10s']);
    t.same(texts(at(9.4), at(9.4), 10), ['ssh: 192.0.2.7 is in for 10s']);
    t.same(texts(at(5), at(4.1)), [], 'no more than looks differ');
    t.same(texts(at(5), at(null)), ['ssh: 192.0.2.7 is in for good']);
    t.same(texts(at(null), at(null)), []);
    t.same(texts(at(null), at(9)), [], 'shortened by hand');
  },
);

t.test('openings that nobody saw are counted', async t => {
  const seen = loaded({ clients: [client('192.0.2.7', 9)], opened: 1 });
  t.same(texts(loaded(), seen), ['ssh: 192.0.2.7 is in for 9s']);
  t.same(
    texts(loaded(), { ...seen, services: { ssh: { ...nobody, opened: 3, refused: 7 } }, wrongKnocks: 2 }),
    ['2 wrong knocks', 'ssh opened 3', 'ssh refused 7'],
  );
});

t.test('a counter that is less than before has started again', async t => {
  const { services, wrongKnocks } = increases(
    loaded({ opened: 5, refused: 9 }, { wrongKnocks: 7 }),
    loaded({ opened: 1, refused: 9 }, { wrongKnocks: 3 }),
  );
  t.same([...services], [['ssh', { opened: 1, accepted: 0, refused: 0 }]]);
  t.equal(wrongKnocks, 3);
});

t.test('the table goes, comes, and differs from the file', async t => {
  const gone = emptyStatus('knockd');
  const inside = loaded({ clients: [client('192.0.2.7', 9)], opened: 5 });
  t.same(texts(inside, gone), ['not loaded: nothing is guarded', 'ssh: 192.0.2.7 is out']);
  t.same(texts(gone, loaded()), ['table inet knockd: as the configuration says']);
  t.match(texts(loaded(), loaded({}, { inSync: false })), [
    /not as the configuration says: "knockd-nft load"/,
  ]);
  t.match(texts(loaded(), loaded({}, { inSync: null })), [/cannot be used/]);
});

t.test('a place of many sequences is one line', async t => {
  const knocking = ['alice', 'bob', 'carol'].map(user => knocker('192.0.2.8', 1, user, 'admin'));
  t.same(texts(loaded(), loaded({}, { knocking })), ['192.0.2.8 is knocking admin alice 1/4, or 2 others']);
  t.same(
    texts(loaded({}, { knocking }), loaded({}, { knocking: [knocker('192.0.2.8', 2, 'bob', 'admin')] })),
    ['192.0.2.8 is knocking admin bob 2/4'],
  );
});

t.test('for programs each is an object with the fields of status --json', async t => {
  const after = loaded(
    { clients: [client('192.0.2.7', 9)], opened: 1 },
    { knocking: [knocker('192.0.2.8', 2)] },
  );
  const expected: Happening[] = [
    { event: 'knocking', address: '192.0.2.8', service: 'ssh', user: null, step: 2, of: 4, others: 0 },
    { event: 'in', address: '192.0.2.7', service: 'ssh', user: null, expires: 9 },
  ];
  t.strictSame(happenings(loaded(), after, 1), expected);
});
