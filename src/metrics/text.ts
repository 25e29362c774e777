import type { Sample, ServiceSample } from './sample.ts';

/**
 * `openmetrics` is OpenMetrics 1.0. `prometheus` is the form that node_exporter's textfile collector reads. There a counter's
 * family has the name of its samples, and there are no units.
 */
type Format = 'openmetrics' | 'prometheus';

interface Family {
  /** Without `knockd_nft_`, and `_total`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly unit?: 'seconds';
  readonly help: string;
  /** Unknown values are left out. */
  readonly points: readonly { readonly label?: readonly [string, string]; readonly value: Value }[];
}

type Value = number | boolean | undefined;

export function metricsText(sample: Sample, format: Format): string {
  const lines = families(sample).flatMap(family => familyLines(family, format));
  return `${[...lines, ...(format === 'openmetrics' ? ['# EOF'] : [])].join('\n')}\n`;
}

function families(sample: Sample): readonly Family[] {
  const { services, tokens } = sample;
  const one = (value: Value) => [{ value }];
  const each = (value: (service: ServiceSample) => Value) =>
    services.map(service => ({ label: ['service', service.name], value: value(service) }) as const);
  return [
    gauge('build_info', 'The version of knockd-nft that reports this.', [
      { label: ['version', sample.version], value: 1 },
    ]),
    gauge('supervisor_up', 'Whether a supervisor runs.', one(sample.supervisor)),
    gauge('loaded', 'Whether a table of ours is in the kernel.', one(sample.loaded)),
    gauge('in_sync', 'Whether the kernel has what the configuration says.', one(sample.inSync)),
    gauge('held', 'Whether the kernel is left as it is, by a trial or by hand.', one(sample.held)),
    gauge(
      'troubles',
      'Things that the supervisor cannot do at present, and tries again.',
      one(sample.troubles),
    ),
    counter(
      'openings',
      'Sequences completed, and tokens used.',
      each(it => it.opened),
    ),
    counter(
      'accepted_connections',
      'Connections let in.',
      each(it => it.accepted),
    ),
    counter(
      'refused_packets',
      'Packets turned away.',
      each(it => it.refused),
    ),
    gauge(
      'clients',
      'Clients that are in.',
      each(it => it.clients),
    ),
    gauge('knocking', 'Clients in mid-sequence.', one(sample.knocking)),
    counter('wrong_knocks', 'Knocks that were not the next of a sequence.', one(sample.wrongKnocks)),
    counter('wrong_tokens', 'Packets with a wrong token.', one(tokens?.wrong)),
    counter('repeated_tokens', 'Packets with a token that was used before.', one(tokens?.repeated)),
    {
      ...gauge(
        'tokens_until_timestamp_seconds',
        'The time when the last token in the kernel ends.',
        one(tokens?.until === undefined ? undefined : tokens.until / 1000),
      ),
      unit: 'seconds',
    },
    counter('lost_events', 'Events that were lost since the supervisor started.', one(sample.lostEvents)),
  ];
}

function gauge(name: string, help: string, points: Family['points']): Family {
  return { name, type: 'gauge', help, points };
}

function counter(name: string, help: string, points: Family['points']): Family {
  return { name, type: 'counter', help, points };
}

function familyLines({ name, type, unit, help, points }: Family, format: Format): string[] {
  const known = points.filter(({ value }) => value !== undefined);
  if (known.length === 0) return [];
  const own = `knockd_nft_${name}`;
  const samples = type === 'counter' ? `${own}_total` : own;
  const family = format === 'openmetrics' ? own : samples;
  return [
    `# TYPE ${family} ${type}`,
    ...(unit && format === 'openmetrics' ? [`# UNIT ${family} ${unit}`] : []),
    `# HELP ${family} ${help}`,
    ...known.map(
      ({ label, value }) => `${samples}${label ? `{${label[0]}="${label[1]}"}` : ''} ${Number(value)}`,
    ),
  ];
}
