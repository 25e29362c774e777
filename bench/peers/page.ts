/** The part of docs/benchmarks.md that the program writes, and its pictures. */
import { ratio, tableOf } from '../figures.ts';
import { bars, lines } from './picture.ts';
import { type Report, type Spread, TRICKS, type Trick } from './report.ts';

const BEGIN = '<!-- written by npm run bench -- peers -->';
const END = '<!-- end of what npm run bench -- peers writes -->';

/** The document with the part between the markers replaced. */
export function withPeers(document: string, report: Report): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the document has no ${BEGIN} and ${END}`);
  return `${document.slice(0, begin)}${BEGIN}\n\n${section(report)}\n${document.slice(end)}`;
}

const isOurs = (host: string) => host === 'ours' || host === 'tokens';
const number = (value: number | undefined, digits = 0) =>
  value === undefined || !Number.isFinite(value)
    ? '-'
    : value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const quartiles = ({ quartiles: [low, high] }: Spread, digits = 0) =>
  `(${number(low, digits)}–${number(high, digits)})`;
const times = (value: number | undefined, base: number | undefined) =>
  value === undefined || base === undefined || !(base > TINY) ? '-' : ratio(value, base);
/** Smaller values are noise, and nothing is compared with them. */
const TINY = 0.05;
const fenced = (rows: readonly string[]) => ['```', ...rows, '```'].join('\n');
/** Milliseconds and other values, small ones with more digits. */
const fine = (value: number | undefined) =>
  number(value, value !== undefined && value < 10 ? (value < 1 ? 2 : 1) : 0);

/** The text between the markers. */
export function section(report: Report): string {
  const { date, machine, load, seconds, versions, rivals, skipped } = report;
  const parts = [
    `Measured on ${date} in one run of ${number(seconds / 60)} minutes: ${machine}; load average ${load[0].toFixed(1)} at its start, ${load[1].toFixed(1)} at its
end. ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    rivals.map(({ name, how }) => `- **${name}**: ${how}`).join('\n'),
    skipped.length === 0
      ? 'Nothing was skipped.'
      : `Skipped, ${skipped.length}:\n\n${skipped.map(why => `- ${why}`).join('\n')}`,
    ...delays(report),
    ...rates(report),
    ...growths(report),
    ...floods(report),
    ...tricks(report),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** A row for each rival that has a value. */
function rowsOf<Value>(
  { rivals }: Report,
  values: Readonly<Record<string, Value>>,
  row: (value: Value, host: string) => readonly string[],
): readonly (readonly string[])[] {
  return rivals.flatMap(({ host, name }) => {
    const value = values[host];
    return value === undefined ? [] : [[name, ...row(value, host)]];
  });
}

function delays(report: Report): readonly string[] {
  const { delay } = report;
  const base = delay.ours?.opened.median;
  const [some] = Object.values(delay);
  const rows = rowsOf(report, delay, ({ opened, p95, failedFirst, failed, never, connect }) => [
    fine(opened.median),
    `(${fine(opened.quartiles[0])}–${fine(opened.quartiles[1])})`,
    fine(p95),
    times(opened.median, base),
    `${failedFirst} of ${opened.n + never}`,
    number(failed),
    fine(connect.median),
  ]);
  return [
    '### From the last knock to the first connection',
    `A client tries to connect every 2 ms, from the moment when its last packet has left. The figures are milliseconds to the first accepted
connection: median (quartiles) of ${some ? some.opened.n + some.never : 0} interleaved rounds, each from an address of its own. "First fails" says how often the first attempt failed,
"failed" how many attempts failed, in the median. "Connect" is one \`connect()\`, as a program makes it: the kernel
sends a lost SYN again after a second.`,
    '![Milliseconds from the last knock to the first connection](peers-delay.svg)',
    fenced(tableOf(['', 'ms', '(quartiles)', '95 %', 'to ours', 'first fails', 'failed', 'connect'], rows)),
  ];
}

function rates(report: Report): readonly string[] {
  const { rates } = report;
  const wanted = Object.values(rates)[0]?.map(rate => rate.wanted) ?? [];
  const base = rates.tracking;
  const rows = rowsOf(report, rates, list => [
    ...list.flatMap(({ reached, nanoseconds }, index) => [
      number(reached.median / 1000),
      number(nanoseconds.median),
      quartiles(nanoseconds),
      times(nanoseconds.median, base?.[index]?.nanoseconds.median),
    ]),
    number(list.at(-1)?.daemon?.median, 2),
  ]);
  return [
    '### Packets to other ports',
    `Half of the packets belong to 64 running connections to an unguarded port, half are SYNs to a port that no file names. One thread sends
them at ${wanted.map(rate => number(rate / 1000)).join(', ')} thousand a second, or as many as it can. For each rate the table has the thousands a second that were reached, then nanoseconds of CPU
for a packet, with sender, wire and receiver together: median (quartiles) of five rounds, and the ratio to connection tracking only. The last
column is the daemon's CPU at the highest rate, in percent of a core.`,
    fenced(
      tableOf(
        ['', ...wanted.flatMap(rate => [`of ${number(rate / 1000)}`, 'ns', '(quartiles)', '']), 'daemon %'],
        rows,
      ),
    ),
  ];
}

function growths(report: Report): readonly string[] {
  const { growth } = report;
  const counts = [...new Set(Object.values(growth).flatMap(list => list.map(({ services }) => services)))];
  const table = (
    title: string,
    value: (of: Report['growth'][string][number]) => number | undefined,
    text = fine,
  ) => {
    const rows = rowsOf(report, growth, list => {
      const of = (services: number | undefined) => {
        const found = list.find(it => it.services === services);
        return found && value(found);
      };
      return [...counts.map(count => text(of(count))), times(of(counts.at(-1)), of(counts[0]))];
    });
    const head = [
      title,
      ...counts.map(count => number(count)),
      `${number(counts.at(-1))} to ${number(counts[0])}`,
    ];
    return tableOf(
      head,
      rows.filter(row => row.slice(1).some(cell => cell !== '-')),
    );
  };
  return [
    '### More services',
    `Columns are numbers of services, each with its own sequence or keys. The time of a packet is in nanoseconds as for "packets": the lower decile of
interleaved rounds of 256. The time of a load is in milliseconds from the start of the first command until the ports are guarded and knocks count: median
of two or three. Memory is in MiB: of the daemon, the proportional set size with its ring of packets; of the kernel, the growth of slabs and
large areas for rules and sets. Other work of the machine changes it by some MiB.`,
    '![Nanoseconds for a packet, by the number of services](peers-growth.svg)',
    fenced([
      ...table('a SYN to a port that nobody names, ns', it => it.unrelated, number),
      '',
      ...table('a segment of a running connection, ns', it => it.running, number),
      '',
      ...table('load, ms', it => it.load.median),
    ]),
    '![Memory with the most services](peers-memory.svg)',
    fenced([
      ...table('daemon, MiB', it => it.pss),
      '',
      ...table(
        'kernel, MiB',
        it => Math.max(0, it.kernel.median),
        value => number(value, 1),
      ),
    ]),
  ];
}

function floods(report: Report): readonly string[] {
  const rates = [...new Set(Object.values(report.flood).flatMap(list => list.map(({ wanted }) => wanted)))];
  const tables = rates.flatMap((rate, index) => {
    const rows = rowsOf(report, report.flood, list => {
      const it = list.find(({ wanted }) => wanted === rate);
      if (!it) return [];
      const { daemon } = it;
      return [
        number(it.reached),
        `${it.in} of ${it.of}`,
        fine(it.opened),
        number(daemon?.share, 1),
        daemon ? `${number(daemon.before, 1)}–${number(daemon.after, 1)}` : '-',
      ];
    });
    const head = [`${number(rate)} a second`, 'reached', 'got in', 'ms', 'daemon %', 'its MiB'];
    return [...(index > 0 ? [''] : []), ...tableOf(head, rows)];
  });
  return [
    '### A flood',
    `Forged packets come, each from another address. They are first knocks or, for fwknop and tokens, datagrams of the right form with a wrong
secret. Meanwhile clients come one after the other, with 50 ms between two knocks. The table says how many get in within a second, and the
median of their milliseconds. The daemon's CPU is in percent of a core. Its memory is that before and that after.`,
    fenced(tables),
  ];
}

const SHORT: Readonly<Record<Trick, string>> = {
  own: 'own',
  rising: 'sweep',
  three: '3 sweeps',
  shuffled: '10 shuffled',
  replay: 'replay',
  again: 'later',
  twice: 'twice',
  swapped: 'swapped',
  between: 'between',
};

function tricks(report: Report): readonly string[] {
  const names = Object.keys(TRICKS) as Trick[];
  const rows = rowsOf(report, report.opens, results =>
    names.map(name => {
      const result = results[name];
      return result === undefined ? '' : result ? 'opens' : '-';
    }),
  );
  return [
    '### Tricks that open, and tricks that do not',
    `"Opens" means that a connection was accepted afterwards. If knocks are datagrams, sweeps are of UDP, and a single datagram has no order. Shuffled
sweeps open by chance. The columns:`,
    names.map(name => `- ${SHORT[name]}: ${TRICKS[name]}`).join('\n'),
    fenced(tableOf(['', ...names.map(name => SHORT[name])], rows)),
  ];
}

/** The pictures, by their names in docs/. */
export function pictures(report: Report): Readonly<Record<string, string>> {
  const { rivals, delay, growth } = report;
  const nameOf = new Map(rivals.map(({ host, name }) => [host, name]));
  const most = Math.max(...Object.values(growth).flatMap(list => list.map(({ services }) => services)));
  const memory = rivals.flatMap(({ host, name }) => {
    const at = growth[host]?.find(({ services }) => services === most);
    if (!at || host === 'none' || host === 'tracking') return [];
    const value = (at.pss ?? 0) + Math.max(0, at.kernel.median);
    return [{ name, value: Math.max(0.1, value), text: `${fine(value)} MiB`, ours: isOurs(host) }];
  });
  return {
    'peers-delay.svg': bars(
      'From the last knock to the first connection',
      'milliseconds: median, and to 95 %',
      Object.entries(delay).map(([host, { opened, p95 }]) => ({
        name: nameOf.get(host) ?? host,
        value: opened.median,
        upTo: p95,
        text: `${fine(opened.median)} ms`,
        ours: isOurs(host),
      })),
    ),
    'peers-growth.svg': lines(
      'A packet that has nothing to do with the services',
      'nanoseconds, by the number of services',
      Object.entries(growth).map(([host, list]) => ({
        name: nameOf.get(host) ?? host,
        points: list.map(({ services, unrelated }) => [services, unrelated] as const),
        ours: isOurs(host),
      })),
    ),
    'peers-memory.svg': bars(`Memory with ${number(most)} services`, 'daemon and kernel, MiB', memory),
  };
}
