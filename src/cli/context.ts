/** Exit status, as in sysexits.h. */
export const EXIT = { DONE: 0, FAILED: 1, USAGE: 64, NOT_PERMITTED: 77, CONFIG: 78 } as const;

/** The exit status of a check, by the word that Nagios, Icinga and the like use. */
export const STATES = { OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3 } as const;

/** A command line that nobody can have meant. It ends with status 64, before anything is done. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The surroundings of a command. Results go to `print` and messages to `tell`, in one line or several. */
export interface Context {
  /** Of `--config`. */
  readonly config: string | undefined;
  readonly json: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly print: (lines: string | readonly string[]) => void;
  readonly tell: (lines: string | readonly string[]) => void;
}
