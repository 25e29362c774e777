// events/ has the events that the supervisor sends to other programs. Our own programs follow them, and run commands for them.
// It knows the socket's path and lines, but not their sender.
// Floor 4: it imports only from rooms on lower floors.

/** The events that the supervisor writes to its journal and sends to the readers of its stream. */

/** Each event by its word in the journal, and whether it is about a service. */
export const EVENTS = {
  loaded: { service: false },
  swapped: { service: false },
  unchanged: { service: false },
  invalid: { service: false },
  restored: { service: false },
  opened: { service: true },
  refused: { service: true },
  granted: { service: true },
  revoked: { service: true },
  lost: { service: false },
  held: { service: false },
  stopped: { service: false },
} as const satisfies Record<string, { readonly service: boolean }>;

export type EventName = keyof typeof EVENTS;

/** Values that say more about an event; null and undefined are left out of text. */
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** One line of the stream, and of a journal in JSON. */
export interface Told extends Fields {
  /** pino's: 30 info, 40 warn, 50 error. */
  readonly level: number;
  /** Milliseconds of the epoch. */
  readonly time: number;
  readonly event: EventName;
  /** A sentence for people. */
  readonly msg: string;
}

/** The first line of the stream: the state when a reader connects. */
export interface Snapshot {
  readonly event: 'snapshot';
  /** Milliseconds of the epoch. */
  readonly time: number;
  /** The supervisor's version. */
  readonly version: string;
  /** The file that it follows. */
  readonly file: string;
  /** The line of `systemctl status`. */
  readonly status: string;
  /** Null if nothing was loaded yet. */
  readonly table: string | null;
  readonly services: readonly string[];
  /** The clients that are in, without openings for single use. `expires` is in seconds; null means for good. */
  readonly clients: readonly {
    readonly service: string;
    readonly client: string;
    readonly user: string | null;
    readonly expires: number | null;
  }[];
  /** How many more are in. */
  readonly more: number;
  /** How many events were lost since the supervisor started. */
  readonly lost: number;
}
