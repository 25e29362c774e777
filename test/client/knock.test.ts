/** Knocks as words, and where they are sent from this host to itself. What arrives is tried in test/kernel. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import t from 'tap';
import { ClientError } from '../../src/client/error.ts';
import { knock, knockAll, readKnock } from '../../src/client/knock.ts';
import { inTurns, resolveHost } from '../../src/client/resolve.ts';

t.test('a knock is a port as in the configuration, or as knockd has it', async t => {
  const tcp = (port: number) => ({ ok: true, value: { protocol: 'tcp', port } });
  for (const word of ['10000', '10000/tcp', '10000:tcp']) t.same(readKnock(word), tcp(10000));
  for (const word of ['53/udp', '53:udp'])
    t.same(readKnock(word), { ok: true, value: { protocol: 'udp', port: 53 } });
  const wrong = [
    '',
    '0',
    '65536',
    '-1',
    '1.5',
    '1e3',
    ' 1',
    '1/',
    '1/sctp',
    '1-2/tcp',
    '1:2',
    '1:tcp:udp',
    'ssh',
  ];
  for (const word of wrong)
    t.match(readKnock(word), { ok: false, expected: /^a number from 1 to 65535/ }, word);
});

t.test('the message about a knock that could not be sent does not show the port', async t => {
  // a multicast address is none that TCP could go to
  const failing = knockAll(['224.0.0.1', 'ff02::1'], [{ protocol: 'tcp', port: 54321 }], 1);
  await t.rejects(failing, ClientError);
  await failing.catch(({ message }: Error) => {
    t.match(message, /^nothing could be sent to 224\.0\.0\.1 or ff02::1 \(E[A-Z]+\): check the network/);
    t.notMatch(message, /54321/);
  });
});

t.test('an address that leads nowhere does not keep from the other', async t => {
  const door = createSocket('udp4');
  t.teardown(() => door.close());
  door.bind(0, '127.0.0.1');
  await once(door, 'listening');
  const knocks = [
    { protocol: 'udp', port: door.address().port } as const,
    { protocol: 'tcp', port: 9 } as const,
  ];
  const arrived = once(door, 'message');
  t.same(await knockAll(['224.0.0.1', '127.0.0.1'], knocks, 1), ['127.0.0.1']);
  const [payload] = await arrived;
  t.equal(payload.length, 0, 'an empty datagram');
});

t.test('a signal ends it between two knocks', async t => {
  const knocks = [1, 2].map(port => ({ protocol: 'tcp', port }) as const);
  const over = new AbortController();
  const knocking = knock('127.0.0.1', knocks, 60_000, over.signal);
  over.abort();
  await t.rejects(knocking, { name: 'AbortError' });
});

t.test('a host is looked up once, and gives all its addresses', async t => {
  t.same(await resolveHost('127.0.0.1'), ['127.0.0.1']);
  t.same(await resolveHost('::1'), ['::1']);
  await t.rejects(resolveHost('nowhere.invalid'), { name: 'ClientError', message: /: check the n/ });
});

t.test('one address of each family is knocked on at a time, in their order', async t => {
  t.same(inTurns(['fd77::1', '10.77.0.1', 'fd77::2', 'fd77::3', '10.77.0.2']), [
    ['fd77::1', '10.77.0.1'],
    ['fd77::2', '10.77.0.2'],
    ['fd77::3'],
  ]);
  t.same(inTurns(['10.77.0.1']), [['10.77.0.1']]);
  t.same(inTurns(['10.77.0.1', '10.77.0.2']), [['10.77.0.1'], ['10.77.0.2']]);
});
