import type { Problem } from '../config/problems.ts';
import type { Hold } from '../host/hold.ts';

/**
 * The supervisor's knowledge and plans, as plain values. `intent.ts` goes from one state to the next. Times are milliseconds
 * as `monotonic` counts them.
 */
export interface State {
  readonly path: string;
  /** The configuration file, compared with the configuration in force. */
  readonly file: FileState;
  /** The table in the kernel, compared with the configuration in force. */
  readonly table: Task;
  /** The last good file, which is of use only if nothing is in force. */
  readonly lastGood: LastGood;
  /** The last message that nothing can be loaded; undefined if the file has changed since. */
  readonly nothing: string | undefined;
  /** The last load; undefined if nothing was loaded since this process started. */
  readonly inForce: InForce | undefined;
  readonly job: Job | undefined;
  readonly hold: Hold | undefined;
  /** When the table was put back recently. */
  readonly repairs: readonly number[];
  readonly look: Look;
  readonly events: EventsState;
  /** Whether the service manager knows that the start or reload that it asked for is done. */
  readonly announced: boolean;
}

/** The source of a load's configuration. */
export type Source = 'file' | 'in force' | 'last good';

/** A load that runs; `stale` if its file has changed meanwhile. */
interface Job {
  readonly source: Source;
  readonly stale: boolean;
}

/** A failure: its message, since when, how often in a row, and when to try again. */
export interface Failure {
  readonly message: string;
  readonly since: number;
  readonly times: number;
  readonly again: number;
}

type Task =
  | { readonly is: 'done' }
  | { readonly is: 'due' }
  | { readonly is: 'failed'; readonly failure: Failure };

/** A file that is not valid differs from one that failed to load, since only a change mends it. */
export type FileState =
  | Task
  /** A program may be in the middle of writing it. */
  | { readonly is: 'doubtful'; readonly problems: readonly Problem[]; readonly until: number }
  | { readonly is: 'invalid'; readonly problems: readonly Problem[]; readonly since: number };

export type LastGood = Task | { readonly is: 'missing' } | { readonly is: 'invalid' };

export interface InForce {
  /** Of the ruleset, when it was as it should be. */
  readonly generation: number;
  readonly table: string;
  readonly services: readonly string[];
  /** The services without ports. */
  readonly events: readonly string[];
  /** Of NFLOG. */
  readonly group: number;
}

/** Whether the kernel can be asked for its generation. */
interface Look {
  /** When we asked; undefined if we await no answer. */
  readonly asked: number | undefined;
  /** The last answer. */
  readonly generation: number | undefined;
  readonly failure: Failure | undefined;
}

interface EventsState {
  readonly group: number | undefined;
  readonly is: 'closed' | 'opening' | 'open';
  readonly failure: Failure | undefined;
}

/** The state before anything happened. The file is due. */
export const first = (path: string): State => ({
  path,
  file: { is: 'due' },
  table: { is: 'done' },
  lastGood: { is: 'due' },
  nothing: undefined,
  inForce: undefined,
  job: undefined,
  hold: undefined,
  repairs: [],
  look: { asked: undefined, generation: undefined, failure: undefined },
  events: { group: undefined, is: 'closed', failure: undefined },
  announced: false,
});
