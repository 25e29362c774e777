import { MARK } from '../ruleset/names.ts';

/** Somebody else's table has the name that ours should have. */
export class ForeignTableError extends Error {
  override readonly name = 'ForeignTableError';

  constructor(table: string) {
    super(
      `table inet ${table} exists and is not ours (it has no comment "${MARK}"): it is left alone; choose another "table" or delete it`,
    );
  }
}

/** What was asked for cannot be done as things are: one sentence for people that says what to do. */
export class CannotChangeError extends Error {
  override readonly name = 'CannotChangeError';
}

/** What is being tried stands in the way, or cannot go on. */
export class TrialError extends Error {
  override readonly name = 'TrialError';
}
