import t from 'tap';
import { byHand, Clients, pack, unpack } from '../../src/supervisor/clients.ts';
import type { KnownClient } from '../../src/table/clients.ts';

const NOW = 1_000_000;
const MINUTE = 60_000;
const TABLE = '1';

function client(last: number, rest: Partial<KnownClient> = {}): KnownClient {
  const key = Uint8Array.of(192, 0, 2, last);
  const common = { service: 'ssh', family: 'ipv4', place: null, granted: false } as const;
  return { ...common, key, timeout: MINUTE, until: NOW + MINUTE / 2, ...rest };
}

const endless = client(3, { until: null, timeout: null });

/** The known clients, in the order of their ends. */
function all(clients: Clients): KnownClient[] {
  const { packed, recent } = clients.known();
  return [...unpack(packed), ...recent];
}

t.test('a client that is gone before its time was revoked', async t => {
  const { revoked, granted } = byHand([client(1), client(2), endless], [client(1)], NOW, NOW);
  t.same(revoked, [client(2), endless]);
  t.same(granted, []);
});

t.test('a client whose time was about to end was not', async t => {
  const ending = [client(1, { until: NOW + 900 }), client(2, { until: NOW - 900 })];
  t.same(byHand(ending, [], NOW, NOW).revoked, []);
  const later = client(1, { until: NOW + 5000 });
  t.same(byHand([later], [], NOW, NOW + 4500).revoked, [], 'nor whose time ended during a long load');
});

t.test('a grant is one that is new, or ends later than before', async t => {
  const longer = client(1, { granted: true, until: NOW + MINUTE });
  const same = client(2, { granted: true });
  const fresh = client(3, { granted: true });
  const knocked = client(4);
  const { granted } = byHand([client(1), client(2)], [longer, same, fresh, knocked], NOW, NOW);
  t.same(granted, [longer, fresh]);
});

t.test('packed clients come out as they went in, those that end first before the others', async t => {
  const ipv6 = client(9, {
    service: 'admin',
    family: 'ipv6',
    key: new Uint8Array(16).fill(7),
    place: 0xfedcba98,
  });
  const packed = pack([endless, client(2, { granted: true, until: NOW + 3 }), ipv6]);
  t.same([...unpack(packed)], [client(2, { granted: true, until: NOW + 3 }), ipv6, endless]);
});

t.test('a client that was let in while the kernel was read is still in', async t => {
  const clients = new Clients();
  const late = client(1, { until: NOW + 10 + MINUTE });
  clients.opened(late);
  clients.replace(pack([]), NOW, TABLE);
  t.same(all(clients), [late]);
  clients.replace(pack([]), NOW + 20, TABLE);
  t.same(all(clients), []);
});

t.test(
  'an opening that is reported late, and that the kernel does not have any more, is not remembered',
  async t => {
    const clients = new Clients();
    clients.replace(pack([client(2)]), NOW, TABLE);
    clients.opened(client(1, { until: NOW - 5000 + MINUTE }));
    t.same(all(clients), [client(2)]);
  },
);

t.test('a client that may have come after the kernel was read is remembered', async t => {
  const clients = new Clients();
  clients.replace(pack([client(2)]), NOW, TABLE);
  const inDoubt = client(1, { until: NOW - 3000 + MINUTE });
  clients.opened(inDoubt, NOW + 100);
  t.same(all(clients), [client(2), inDoubt]);
  const before = client(2, { until: NOW - 3000 + MINUTE / 4 });
  clients.opened(before, NOW + 100);
  t.same(all(clients), [client(2), inDoubt], 'and the longer time counts');
  clients.replace(pack([]), NOW + 50, TABLE);
  t.same(all(clients), [inDoubt], 'also while it was read again');
  clients.replace(pack([]), NOW + 200, TABLE);
  t.same(all(clients), []);
});

t.test('a client that may have come before the kernel was read may have been revoked before', async t => {
  const clients = new Clients();
  clients.replace(pack([client(2)]), NOW, TABLE);
  clients.opened(client(3, { until: NOW + 50 + MINUTE }));
  t.equal(clients.known().seen, NOW);
  clients.opened(client(1, { until: NOW - 60_000 + MINUTE }), NOW + 100);
  t.equal(clients.known().seen, NOW - 60_000, 'so all revocations since then count');
});

t.test('each client is counted once, while it is in', async t => {
  const clients = new Clients();
  const first = client(1, { until: NOW + 1000 });
  clients.replace(pack([endless, client(2), first]), NOW - 1000, TABLE);
  t.equal(clients.size, 3);
  const again = client(1, { until: NOW + MINUTE });
  clients.opened(again);
  clients.opened(again);
  t.equal(clients.size, 3, 'one that knocks again');
  t.same(all(clients), [client(2), endless, again]);
  clients.forgetExpired(NOW + 1000);
  t.equal(clients.size, 3, 'its first opening is over, and it is in');
  clients.forgetExpired(NOW + MINUTE / 2);
  t.equal(clients.size, 2);
  clients.forgetExpired(NOW + MINUTE);
  t.same(all(clients), [endless]);
});

t.test(
  'each client that is in is counted and named once, whatever was read before and whoever came since',
  async t => {
    const clients = new Clients();
    const gone = client(1, { until: NOW - 1 });
    const other = client(2, { service: 'admin' });
    clients.replace(pack([gone, client(3), client(4), other]), NOW - MINUTE, TABLE);
    clients.forgetExpired(NOW);
    const again = client(3, { until: NOW + MINUTE });
    const fresh = client(5, { service: 'web' });
    for (const opened of [again, fresh]) clients.opened(opened);
    t.same(
      new Map([...clients.countByService()].sort()),
      new Map([
        ['admin', 1],
        ['ssh', 2],
        ['web', 1],
      ]),
    );
    t.same(new Set([...clients.each()].map(({ key }) => key.at(3))), new Set([2, 3, 4, 5]));
    t.equal([...clients.each()].length, clients.size);
  },
);
