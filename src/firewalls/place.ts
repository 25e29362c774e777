import type { Packet } from './packet.ts';
import type { Registers } from './registers.ts';
import type { ForeignTable } from './table.ts';
import type { Written } from './written.ts';

/** The objects that the expressions of a rule work on. */
export interface Place {
  readonly packet: Packet;
  readonly registers: Registers;
  readonly table: ForeignTable;
  readonly written: Written;
}
