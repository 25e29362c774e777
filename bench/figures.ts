/** Numbers of several rounds, and tables of them. */

/** The value below which the given part of them lies: 0.5 is the median. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN;
}

/** Columns, the first to the left, the others to the right, indented by two. */
export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map(row => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
  return [head, ...rows].map(row => `  ${line(row).join('  ')}`.trimEnd());
}

export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  console.log(tableOf(head, rows).join('\n'));
}

/** `1.05 x` */
export function ratio(value: number, base: number): string {
  return `${(value / base).toFixed(2)} x`;
}
