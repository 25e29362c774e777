/** The live view as lines: what is shown on which screen. */
import fc from 'fast-check';
import t from 'tap';
import { emptyStatus, type ServiceStatus, type Status } from '../../src/ruleset/status.ts';
import type { Paint } from '../../src/terminal/paint.ts';
import { aged, goOn, type Story } from '../../src/watch/story.ts';
import { view } from '../../src/watch/view.ts';

const plain: Paint = (_, text) => text;
const noon = new Date(2026, 0, 1, 12, 0, 1);
const hint = 'q ends';

const quiet: ServiceStatus = { ports: ['22/tcp'], clients: [], opened: 0, accepted: 0, refused: 0 };
function status(services: Record<string, Partial<ServiceStatus>>, rest: Partial<Status> = {}): Status {
  return {
    loaded: true,
    inSync: true,
    guarded: true,
    table: 'knockd',
    services: Object.fromEntries(
      Object.entries(services).map(([name, service]) => [name, { ...quiet, ...service }]),
    ),
    knocking: [],
    wrongKnocks: 0,
    mistaken: [],
    ...rest,
  };
}

/** The story of these looks, a second apart. */
function story(...looks: readonly Status[]): Story {
  let story: Story | undefined;
  for (const look of looks) story = goOn(story, look, 1, noon);
  if (!story) throw new Error('no look');
  return story;
}

function lines(story: Story, width = 80, height = 24): string[] {
  return view(story, noon, { width, height }, hint, plain);
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

const client = (address: string, expires: number | null, user: string | null = null) => ({
  address,
  user,
  expires,
});

const before = status({
  admin: { ports: ['8443/tcp'] },
  ssh: { opened: 2, accepted: 3, refused: 1168 },
});
const busy = status(
  {
    admin: { ports: ['8443/tcp'] },
    ssh: {
      opened: 3,
      accepted: 4,
      refused: 1204,
      clients: [client('192.0.2.7', 8.2), client('2001:db8:1234:5678:9abc:def0:1234:5678', null)],
    },
  },
  {
    knocking: [{ address: '192.0.2.8', service: 'admin', user: 'alice', step: 2, of: 3, expires: 3.4 }],
    wrongKnocks: 2,
    mistaken: [],
  },
);

t.test('on an ordinary screen all is there', async t => {
  const shown = lines(story(before, busy));
  t.equal(shown.length, 24);
  t.same(
    [...shown.slice(0, 17), shown.at(-1)],
    [
      'table inet knockd: as the configuration says                            12:00:01',
      '2 in, 1 knocking, 2 +2 wrong knocks, 2 services',
      '',
      'SERVICE  IN  OPENED  ACCEPTED   REFUSED  REFUSED/S  PORTS',
      'ssh       2    3 +1      4 +1  1204 +36         36  22/tcp',
      'admin     0    0         0        0                 8443/tcp',
      '',
      'CLIENT                                  SERVICE      LEFT',
      '2001:db8:1234:5678:9abc:def0:1234:5678  ssh      for good',
      '192.0.2.7                               ssh            9s',
      '',
      'KNOCKING   SERVICE  USER   STEP  LEFT',
      '192.0.2.8  admin    alice   2/3    4s',
      '',
      '12:00:01 table inet knockd: as the configuration says',
      '12:00:01 192.0.2.8 is knocking admin alice 2/3',
      '12:00:01 2 wrong knocks',
      'q ends',
    ],
  );
});

t.test('a narrow screen leaves out the least important columns, and cuts long addresses', async t => {
  t.same(lines(story(before, busy), 40, 10), [
    'knockd: as the configuration says',
    '2 in, 1 knocking, 2 +2 wrong knocks, 2 …',
    'SERVICE  IN  OPENED  ACCEPTED   REFUSED',
    'ssh       2    3 +1      4 +1  1204 +36',
    'CLIENT                 SERVICE      LEFT',
    '2001:db8:1234:5678:9…  ssh      for good',
    '192.0.2.7              ssh            9s',
    'KNOCKING   SERVICE  USER   STEP  LEFT',
    '192.0.2.8  admin    alice   2/3    4s',
    '12:00:01 ssh: 2001:db8:1234:5678:9abc:d…',
  ]);
  t.same(lines(story(before, busy), 20, 3), [
    'knockd: as the conf…',
    '2 in, 1 knocking, 2…',
    '12:00:01 ssh: 2001:…',
  ]);
});

t.test('many clients: as many as there is room for, and how many more', async t => {
  const clients = numbers(30).map(last => client(`192.0.2.${last}`, last));
  const shown = lines(story(status({ ssh: { clients } })), 80, 14);
  t.match(shown, [/as the configuration says/, /^30 in/, /^SERVICE/, /^ssh +30/, /^CLIENT/, /^192.0.2.30 /]);
  const more = shown.find(line => line.startsWith('…')) ?? '';
  const listed = shown.filter(line => line.startsWith('192.0.2.')).length;
  t.equal(more, `… ${30 - listed} more`);
});

t.test('if there are many services, those with clients or new counts are seen', async t => {
  const names = numbers(1000).map(number => `s${String(number).padStart(4, '0')}`);
  const services = (refused: number) =>
    status(Object.fromEntries(names.map(name => [name, name === 's0777' ? { refused } : {}])));
  const shown = lines(story(services(0), services(5)));
  t.match(shown[4], /^s0777 .* 5 \+5 +5\.0/);
  t.match(shown[5], /^s0001 /);
  t.ok(shown.some(line => /^… \d+ more$/.test(line)));
});

t.test('no services, and no table', async t => {
  t.same(lines(story(status({})), 80, 4), [
    'table inet knockd: as the configuration says                            12:00:01',
    '0 in, 0 knocking, 0 wrong knocks, 0 services',
    '12:00:01 table inet knockd: as the configuration says',
    '',
  ]);
  t.same(lines(story(before, emptyStatus('knockd')), 80, 4), [
    'not loaded: nothing is guarded                                          12:00:01',
    '12:00:01 table inet knockd: as the configuration says',
    '12:00:01 not loaded: nothing is guarded',
    '',
  ]);
});

t.test('counters are counted from the first look on, also when the table is made again', async t => {
  const ssh = (refused: number) => status({ ssh: { refused } });
  const { counted, rates } = story(ssh(100), ssh(104), emptyStatus('knockd'), ssh(0), ssh(3));
  t.same([...counted], [['ssh', { opened: 0, accepted: 0, refused: 7 }]]);
  t.same([...rates], [['ssh', 3]]);
});

t.test('time goes on between two looks', async t => {
  const later = aged(busy, 3.5);
  t.same(later.knocking, []);
  t.same(
    later.services.ssh?.clients.map(({ expires }) => expires?.toFixed(1)),
    ['4.7', undefined],
  );
  t.same(aged(busy, 10).services.ssh?.clients.length, 1);
});

t.test('colours are of whole lines, and add nothing that is seen', async t => {
  const marked: Paint = (style, text) => `<${style}>${text}</>`;
  const shown = view(story(before, busy), noon, { width: 40, height: 12 }, hint, marked);
  t.same(
    shown.map(line => line.replace(/^<[^>]*>(.*)<\/>$/, '$1')),
    lines(story(before, busy), 40, 12),
  );
  t.ok(shown.some(line => line.startsWith('<green>192.0.2.7')));
});

t.test('any state fits on any screen', async t => {
  const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,31}$/);
  const expires = fc.option(fc.double({ min: 0, max: 3e7, noNaN: true }));
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  const user = fc.option(name);
  const count = fc.nat({ max: 2 ** 40 });
  const service = fc.record({
    ports: fc.array(fc.constantFrom('22/tcp', '6000-6010/udp'), { minLength: 1, maxLength: 9 }),
    clients: fc.array(fc.record({ address, user, expires })),
    opened: count,
    accepted: count,
    refused: count,
  });
  const step = fc.nat({ max: 32 });
  const looks = fc.record({
    loaded: fc.boolean(),
    inSync: fc.option(fc.boolean()),
    guarded: fc.boolean(),
    table: name,
    services: fc.dictionary(name, service),
    knocking: fc.array(fc.record({ address, service: name, user, step, of: step, expires })),
    wrongKnocks: count,
    mistaken: fc.constant([]),
  });
  const side = fc.integer({ min: 1, max: 120 });
  const fits = fc.property(
    fc.array(looks, { minLength: 1, maxLength: 3 }),
    side,
    side,
    (looks, width, height) => {
      const shown = lines(story(...looks), width, height);
      return shown.length <= height && shown.every(line => line.length <= width && !/[\n\r]/.test(line));
    },
  );
  t.doesNotThrow(() => fc.assert(fits));
});
