import { NetlinkError } from '../netlink/errors.ts';
import { MARK } from '../ruleset/names.ts';

/** Another program's table has the name that ours should have. */
export class ForeignTableError extends Error {
  override readonly name = 'ForeignTableError';

  constructor(table: string) {
    super(
      `table inet ${table} exists and is not ours (it has no comment "${MARK}"): it is left alone; choose another "table" or delete it`,
    );
  }
}

/** The request cannot be met in the present state. The message is one sentence for people that says what to do. */
export class CannotChangeError extends Error {
  override readonly name = 'CannotChangeError';
}

/** A trial stands in the way, or cannot go on. */
export class TrialError extends Error {
  override readonly name = 'TrialError';
}

/** Another process has kept a lock for longer than we wait. */
export class LockedError extends Error {
  override readonly name = 'LockedError';
}

/** A change of several transactions failed after the first, or we did not see it to the end. Run it again. */
export class HalfDoneError extends Error {
  override readonly name = 'HalfDoneError';
  override readonly cause: unknown;

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause));
    this.cause = cause;
  }
}

/** ENFILE: a set has as many elements as its size allows. */
export function isFull(error: unknown): boolean {
  return error instanceof NetlinkError && error.code === 'ENFILE';
}
