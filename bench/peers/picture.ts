/** Small pictures of figures on a logarithmic scale, as SVG, for a light and a dark page. */

export interface Bar {
  readonly name: string;
  readonly value: number;
  /** A thin line goes on to this value. */
  readonly upTo?: number;
  readonly text: string;
  readonly ours: boolean;
}

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly ours: boolean;
}

const STYLE = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .small { fill: #59636e } .end { text-anchor: end } .middle { text-anchor: middle }
.card { fill: #ffffff; stroke: #d1d9e0 } .grid { stroke: #d1d9e0 } .bar { fill: #afb8c1 } .line { fill: none; stroke: #8c959f; stroke-width: 1.5 }
.bar.ours { fill: #0969da } .line.ours { stroke: #0969da; stroke-width: 2.5 } text.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 }
.card { fill: #161b22; stroke: #3d444d } .grid { stroke: #3d444d } .bar { fill: #656c76 } .line { stroke: #848d97 }
.bar.ours { fill: #4493f8 } .line.ours { stroke: #4493f8 } text.ours { fill: #4493f8 }
}
</style>`;

const WIDTH = 640;
const LEFT = 160;
const RIGHT = 150;
const TOP = 44;
const inner = WIDTH - LEFT - RIGHT;

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
const round = (value: number) => Number(value.toFixed(1));
const classOf = (name: string, ours: boolean) => (ours ? `${name} ours` : name);

/** Powers of ten around all of them. */
function powers(values: readonly number[]): readonly number[] {
  const exponents = values.filter(value => value > 0).map(Math.log10);
  const first = Math.floor(Math.min(...exponents));
  const last = Math.max(first + 1, Math.ceil(Math.max(...exponents)));
  return Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
}

/** The position of a value between the first and the last power: 0 to 1. */
function place(value: number, ticks: readonly number[]): number {
  const [first = 1, last = 10] = [ticks[0], ticks.at(-1)];
  return Math.max(0, (Math.log10(value) - Math.log10(first)) / (Math.log10(last) - Math.log10(first)));
}

function picture(title: string, unit: string, height: number, content: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
${STYLE}
<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="16" y="24">${escaped(title)}</text>
<text class="small end" x="${WIDTH - 16}" y="24">${escaped(unit)}</text>
${content.join('\n')}
</svg>
`;
}

export function bars(title: string, unit: string, list: readonly Bar[]): string {
  const step = 22;
  const bottom = TOP + list.length * step;
  const ticks = powers(list.flatMap(({ value, upTo }) => [value, upTo ?? value]));
  const x = (value: number) => round(LEFT + place(value, ticks) * inner);
  const grid = ticks.flatMap(tick => [
    `<line class="grid" x1="${x(tick)}" y1="${TOP}" x2="${x(tick)}" y2="${bottom}"/>`,
    `<text class="small middle" x="${x(tick)}" y="${bottom + 16}">${tick.toLocaleString('en')}</text>`,
  ]);
  const rows = list.flatMap(({ name, value, upTo, text, ours }, index) => {
    const y = TOP + index * step;
    const end = x(upTo ?? value);
    return [
      `<text class="${classOf('end', ours)}" x="${LEFT - 8}" y="${y + 15}">${escaped(name)}</text>`,
      `<rect class="${classOf('bar', ours)}" x="${LEFT}" y="${y + 4}" width="${round(Math.max(1, x(value) - LEFT))}" height="14" rx="2"/>`,
      ...(upTo === undefined
        ? []
        : [
            `<line class="${classOf('line', ours)}" x1="${x(value)}" y1="${y + 11}" x2="${end}" y2="${y + 11}"/>`,
          ]),
      `<text class="small" x="${Math.max(end, x(value)) + 6}" y="${y + 15}">${escaped(text)}</text>`,
    ];
  });
  return picture(title, unit, bottom + 28, [...grid, ...rows]);
}

export function lines(title: string, unit: string, list: readonly Line[]): string {
  const height = 320;
  const bottom = height - 32;
  const left = 96;
  const width = WIDTH - left - RIGHT - 16;
  const columns = [...new Set(list.flatMap(({ points }) => points.map(([at]) => at)))].toSorted(
    (a, b) => a - b,
  );
  const rows = powers(list.flatMap(({ points }) => points.map(([, value]) => value)));
  const x = (value: number) =>
    round(left + (columns.indexOf(value) / Math.max(1, columns.length - 1)) * width);
  const y = (value: number) => round(bottom - place(value, rows) * (bottom - TOP));
  const grid = [
    ...rows.flatMap(row => [
      `<line class="grid" x1="${left}" y1="${y(row)}" x2="${left + width}" y2="${y(row)}"/>`,
      `<text class="small end" x="${left - 8}" y="${y(row) + 4}">${row.toLocaleString('en')}</text>`,
    ]),
    ...columns.map(
      column =>
        `<text class="small middle" x="${x(column)}" y="${bottom + 18}">${column.toLocaleString('en')}</text>`,
    ),
  ];
  const drawn = list
    .toSorted((one, other) => Number(one.ours) - Number(other.ours))
    .map(({ points, ours }) => {
      const path = points.map(([at, value]) => `${x(at)},${y(value)}`).join(' ');
      return `<polyline class="${classOf('line', ours)}" points="${path}"/>`;
    });
  // names stand at the ends of the lines, from the lowest up, so that none overlap
  let lowest = bottom + 8;
  const names = list
    .flatMap(({ name, points, ours }) => {
      const [at, value] = points.at(-1) ?? [];
      return at === undefined || value === undefined ? [] : [{ name, ours, at, wanted: y(value) + 4 }];
    })
    .toSorted((one, other) => other.wanted - one.wanted)
    .map(({ name, ours, at, wanted }) => {
      const stands = Math.min(wanted, lowest);
      lowest = stands - 14;
      return `<text class="${ours ? 'ours' : 'small'}" x="${x(at) + 8}" y="${round(stands)}">${escaped(name)}</text>`;
    });
  return picture(title, unit, height, [...grid, ...drawn, ...names]);
}
