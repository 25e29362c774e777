import t from 'tap';
import { Clients } from '../../src/supervisor/clients.ts';
import type { KnownClient } from '../../src/table/clients.ts';

const NOW = 1_000_000;
const MINUTE = 60_000;

function client(last: number, rest: Partial<KnownClient> = {}): KnownClient {
  const key = Uint8Array.of(192, 0, 2, last);
  const common = { service: 'ssh', family: 'ipv4', place: null, granted: false } as const;
  return { ...common, key, timeout: MINUTE, until: NOW + MINUTE / 2, ...rest };
}

t.test('who is gone before the time was revoked', async t => {
  const clients = new Clients();
  clients.replace([client(1), client(2), client(3, { until: null, timeout: null })], 0);
  const { revoked, granted } = clients.replace([client(1)], NOW);
  t.same(revoked, [client(2), client(3, { until: null, timeout: null })]);
  t.same(granted, []);
  t.equal(clients.size, 1);
});

t.test('whose time was about to end was not', async t => {
  const clients = new Clients();
  clients.replace([client(1, { until: NOW + 900 }), client(2, { until: NOW - 900 })], 0);
  t.same(clients.replace([], NOW).revoked, []);
});

t.test('who was opened to while the kernel was read is still in', async t => {
  const clients = new Clients();
  const late = client(1, { until: NOW + 10 + MINUTE });
  clients.opened(late);
  t.same(clients.replace([], NOW).revoked, []);
  t.same(clients.all(), [late]);
  t.same(clients.replace([], NOW + 20).revoked, [late]);
});

t.test('a grant is one that is new, or ends later than before', async t => {
  const clients = new Clients();
  clients.replace([client(1), client(2)], 0);
  const longer = client(1, { granted: true, until: NOW + MINUTE });
  const same = client(2, { granted: true });
  const fresh = client(3, { granted: true });
  const knocked = client(4);
  t.same(clients.replace([longer, same, fresh, knocked], NOW).granted, [longer, fresh]);
});
