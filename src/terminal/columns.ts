import { harmless } from './harmless.ts';

/** How a column gives way if there is not enough room. */
export interface Give {
  /** The columns with the least importance are left out first. */
  readonly importance: number;
  /** The fewest characters that it may be cut to before that. Without it, the column stays whole. */
  readonly least?: number;
  /** Aligned to the right, for numbers. */
  readonly right?: boolean;
}

interface Column {
  readonly index: number;
  readonly width: number;
  readonly right?: boolean;
}

const GAP = '  ';

/** Lines of a table with columns as wide as their widest cell. */
export function columns(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows.map(cells)];
  return linesOf(
    all,
    head.map((_, index) => ({ index, width: widest(all, index) })),
  );
}

/** The same in lines of at most `width` characters. `give` says for each title how its column gives way. */
export function fittedColumns(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  give: Readonly<Record<string, Give>>,
  width: number,
): string[] {
  const all = [head, ...rows.map(cells)];
  const shown = head
    .map((title, index) => {
      const natural = widest(all, index);
      const { importance = 0, least = natural, right = false } = give[title] ?? {};
      return { index, width: natural, importance, least: Math.min(least, natural), right };
    })
    .sort((a, b) => b.importance - a.importance);
  const needed = (key: 'width' | 'least') =>
    shown.reduce((sum, column) => sum + column[key] + GAP.length, -GAP.length);
  while (shown.length > 1 && needed('least') > width) shown.pop();
  for (let excess = needed('width') - width; excess > 0; excess--) {
    const widestFirst = shown.filter(column => column.width > column.least).sort((a, b) => b.width - a.width);
    if (widestFirst[0]) widestFirst[0].width--;
  }
  shown.sort((a, b) => a.index - b.index);
  return linesOf(all, shown).map(line => cut(line, width));
}

/** The cells as they will be printed, for their width. */
function cells(row: readonly string[]): string[] {
  return row.map(harmless);
}

/** A text cut to `width`, with a sign that it is cut. */
export function cut(text: string, width: number): string {
  const shown = harmless(text);
  return shown.length <= width ? shown : `${shown.slice(0, Math.max(width - 1, 0))}…`.slice(0, width);
}

function widest(rows: readonly (readonly string[])[], index: number): number {
  return rows.reduce((most, row) => Math.max(most, row[index]?.length ?? 0), 0);
}

function linesOf(rows: readonly (readonly string[])[], shown: readonly Column[]): string[] {
  const cell = (row: readonly string[], { index, width, right }: Column) => {
    const text = cut(row[index] ?? '', width);
    return right ? text.padStart(width) : text.padEnd(width);
  };
  return rows.map(row =>
    shown
      .map(column => cell(row, column))
      .join(GAP)
      .trimEnd(),
  );
}
