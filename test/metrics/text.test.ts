import t from 'tap';
import type { Sample } from '../../src/metrics/sample.ts';
import { metricsText } from '../../src/metrics/text.ts';
import { faultsOf } from './openmetrics.ts';

const sample: Sample = {
  version: '1.0.0',
  supervisor: true,
  loaded: true,
  inSync: false,
  held: false,
  troubles: 1,
  services: [
    { name: 'ssh', opened: 7, accepted: 9, refused: 1e9, clients: 2 },
    { name: 'wake', opened: 3, accepted: undefined, refused: undefined, clients: undefined },
  ],
  knocking: 1,
  wrongKnocks: 4,
  tokens: { until: 1_795_000_000_500, wrong: 5, repeated: 6 },
  lostEvents: 0,
};

t.test('it is OpenMetrics: families once, with type and help, counters by _total, units, an end', async t => {
  const text = metricsText(sample, 'openmetrics');
  t.same(faultsOf(text), []);
  t.match(text, '# TYPE knockd_nft_openings counter\n');
  t.match(
    text,
    '\nknockd_nft_openings_total{service="ssh"} 7\nknockd_nft_openings_total{service="wake"} 3\n',
  );
  t.match(text, '# UNIT knockd_nft_tokens_until_timestamp_seconds seconds\n');
  t.match(text, '\nknockd_nft_tokens_until_timestamp_seconds 1795000000.5\n');
  t.match(text, '\nknockd_nft_in_sync 0\n');
  t.notMatch(text, 'accepted_connections_total{service="wake"}', 'what there is not is left out');
});

t.test('an unknown value is left out, with its family', async t => {
  const { tokens: _, ...rest } = sample;
  const unknown: Sample = {
    ...rest,
    tokens: undefined,
    inSync: undefined,
    knocking: undefined,
    services: [],
  };
  const text = metricsText(unknown, 'openmetrics');
  t.same(faultsOf(text), []);
  t.notMatch(text, /token|in_sync|knocking|service=/);
});

t.test('for node_exporter, a counter is called as its samples are', async t => {
  const text = metricsText(sample, 'prometheus');
  t.match(text, '# TYPE knockd_nft_openings_total counter\n# HELP knockd_nft_openings_total ');
  t.notMatch(text, /# (UNIT|EOF)/);
});
