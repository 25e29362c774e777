import t from 'tap';
import { formatDuration, readDuration } from '../../src/inet/duration.ts';
import { formatNetwork, mergeNetworks, readNetwork } from '../../src/inet/network.ts';
import { formatPortRange, mergePortRanges, readPort, readPortRange } from '../../src/inet/port.ts';

t.test('durations are seconds, or text as nft writes it', t => {
  const cases: readonly (readonly [string | number, number | undefined])[] = [
    [1, 1000],
    [1.1, 1100],
    [2.345, 2345],
    [30, 30_000],
    [31_536_000, 31_536_000_000],
    ['1s', 1000],
    ['1000ms', 1000],
    ['1m30s', 90_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['90m', 5_400_000],
    ['365d', 31_536_000_000],
    [0, undefined],
    [0.999, undefined],
    [-5, undefined],
    [1.0005, undefined],
    [31_536_000.001, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    ['', undefined],
    ['5', undefined],
    ['s', undefined],
    ['5S', undefined],
    ['5s5s', undefined],
    ['5s1m', undefined],
    ['1.5s', undefined],
    [' 5s', undefined],
    ['5s\n', undefined],
    ['365d1ms', undefined],
    [`${'9'.repeat(400)}s`, undefined],
  ];
  for (const [written, milliseconds] of cases) {
    const outcome = readDuration(written);
    t.equal(outcome.ok ? outcome.value : undefined, milliseconds, JSON.stringify(written));
  }
  t.end();
});

t.test('a written duration reads as the same one', t => {
  for (const milliseconds of [1000, 1001, 90_000, 93_784_005, 31_536_000_000]) {
    t.same(readDuration(formatDuration(milliseconds)), { ok: true, value: milliseconds });
  }
  t.equal(formatDuration(5_400_000), '1h30m');
  t.equal(formatDuration(0), '0s');
  t.end();
});

t.test('ports are numbers for TCP, or text with the protocol; ranges only if they are allowed', t => {
  t.same(readPort(22), { ok: true, value: { protocol: 'tcp', port: 22 } });
  t.same(readPort('65535/udp'), { ok: true, value: { protocol: 'udp', port: 65535 } });
  t.same(readPortRange('7-9/udp'), { ok: true, value: { protocol: 'udp', first: 7, last: 9 } });
  t.same(readPortRange('7-7/tcp'), { ok: true, value: { protocol: 'tcp', first: 7, last: 7 } });
  for (const wrong of [
    '7-9/tcp',
    '7-7/tcp',
    '0/tcp',
    '65536/tcp',
    '22/TCP',
    '22',
    'ssh',
    '22/tcp ',
    '',
    0,
    -1,
    1.5,
    65536,
    Number.NaN,
  ]) {
    t.equal(readPort(wrong).ok, false, JSON.stringify(wrong));
  }
  t.end();
});

t.test('port ranges are merged and sorted, TCP first', t => {
  const ranges = ['80-90/tcp', '53/udp', '91/tcp', '85-86/tcp', '79/tcp', '100/tcp'].flatMap(text => {
    const outcome = readPortRange(text);
    return outcome.ok ? [outcome.value] : [];
  });
  t.same(mergePortRanges(ranges).map(formatPortRange), ['79-91/tcp', '100/tcp', '53/udp']);
  t.end();
});

t.test('networks are merged and sorted: overlaps, neighbours, both families', t => {
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [['10.0.0.0/8', '10.1.0.0/16', '10.0.0.0/8'], ['10.0.0.0/8']],
    [['10.1.0.0/16', '10.0.0.0/8'], ['10.0.0.0/8']],
    [['192.0.2.1', '192.0.2.0'], ['192.0.2.0/31']],
    [
      ['192.0.2.1', '192.0.2.2'],
      ['192.0.2.1', '192.0.2.2'],
    ],
    [['192.0.2.3', '192.0.2.1', '192.0.2.0', '192.0.2.2'], ['192.0.2.0/30']],
    [['128.0.0.0/1', '0.0.0.0/1'], ['0.0.0.0/0']],
    [['8000::/1', '::/1', '::1'], ['::/0']],
    [
      ['2001:db8::/33', 'fe80::1', '198.51.100.0/24', '2001:db8:8000::/33', '9.9.9.9/32'],
      ['9.9.9.9', '198.51.100.0/24', '2001:db8::/32', 'fe80::1'],
    ],
    [
      ['0.0.0.0/0', '::/0'],
      ['0.0.0.0/0', '::/0'],
    ],
  ];
  for (const [written, merged] of cases) {
    const networks = written.flatMap(text => {
      const outcome = readNetwork(text);
      return outcome.ok ? [outcome.value] : [];
    });
    t.equal(networks.length, written.length);
    t.same(mergeNetworks(networks).map(formatNetwork), merged, written.join(' '));
  }
  t.end();
});

t.test('any IPv6 notation gives the same network', t => {
  for (const text of ['2001:DB8:0:0:0:0:0:1', '2001:db8::1/128', '2001:0db8::0.0.0.1', '2001:db8:0::0:1']) {
    const outcome = readNetwork(text);
    t.equal(outcome.ok && formatNetwork(outcome.value), '2001:db8::1', text);
  }
  t.end();
});
