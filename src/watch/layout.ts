import type { Table } from '../ruleset/status-text.ts';
import { fittedColumns, type Give } from '../terminal/columns.ts';
import type { Paint } from '../terminal/paint.ts';

/** Undefined for plain text. */
type Style = Parameters<Paint>[0] | undefined;

/** A line of a screen before it is painted. */
export interface Line {
  readonly text: string;
  readonly style?: Style;
}

/** A part of a screen. It shows as many rows as there is room for. */
export interface Section {
  /** Lines above the rows. */
  readonly title: number;
  readonly rows: number;
  /** The title and `room` rows, which is at least 1 and at most all. */
  readonly lines: (room: number) => readonly Line[];
}

/** How columns give way to each other, in all tables. */
const GIVE: Readonly<Record<string, Give>> = {
  CLIENT: { importance: 9, least: 15 },
  KNOCKING: { importance: 9, least: 15 },
  STEP: { importance: 8, right: true },
  SERVICE: { importance: 8, least: 8 },
  LEFT: { importance: 6, right: true },
  USER: { importance: 5, least: 6 },
  IN: { importance: 7, right: true },
  REFUSED: { importance: 6, right: true },
  OPENED: { importance: 5, right: true },
  ACCEPTED: { importance: 4, right: true },
  PORTS: { importance: 3, least: 8 },
  'REFUSED/S': { importance: 2, right: true },
};

/** A table as a part of the screen. If rows are missing and there is room for two, the last line says how many. */
export function tableSection({ head, rows }: Table, width: number, style: (row: number) => Style): Section {
  return {
    title: 1,
    rows: rows.length,
    lines(room) {
      const shown = rows.length > room ? Math.max(room - 1, 1) : rows.length;
      const [title = '', ...lines] = fittedColumns(head, rows.slice(0, shown), GIVE, width);
      return [
        { text: title, style: 'bold' },
        ...lines.map((text, row) => ({ text, style: style(row) })),
        ...(shown < room && shown < rows.length ? [{ text: `… ${rows.length - shown} more` }] : []),
      ];
    },
  };
}

/**
 * The room of each section, in rows. First each gets one row, in their order, and then they take turns to get one more. `gap`
 * is the number of lines between two.
 */
export function deal(
  sections: readonly Section[],
  height: number,
  gap: number,
): ReadonlyMap<Section, number> {
  const rooms = new Map<Section, number>();
  let left = height;
  for (const section of sections) {
    const least = gap + section.title + 1;
    if (section.rows === 0 || least > left) continue;
    rooms.set(section, 1);
    left -= least;
  }
  for (let given = true; given && left > 0; ) {
    given = false;
    for (const [section, room] of rooms) {
      if (left === 0 || room === section.rows) continue;
      rooms.set(section, room + 1);
      left--;
      given = true;
    }
  }
  return rooms;
}
