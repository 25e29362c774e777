import { ClientError } from '../client/error.ts';
import { ConfigError, formatProblem, UnreadableError } from '../config/problems.ts';
import { EditError } from '../host/files.ts';
import { RefusedError } from '../init/place.ts';
import { UnsupportedError } from '../netlink/supported.ts';
import { explain, isForbidden, isNotPermitted } from '../table/explain.ts';
import { UserError } from '../users/change.ts';
import { type Context, EXIT, UsageError } from './context.ts';

interface Failure {
  readonly lines: readonly string[];
  readonly exit: number;
}

/** The message for people when a command failed, and the exit status. An unexpected error comes with its stack. */
export function failureOf(error: unknown): Failure {
  if (
    error instanceof ClientError ||
    error instanceof UserError ||
    error instanceof EditError ||
    error instanceof UnsupportedError
  )
    return { lines: [`knockd-nft: ${error.message}`], exit: EXIT.FAILED };
  if (error instanceof ConfigError)
    return {
      lines: error.problems.map(formatProblem),
      exit: error instanceof UnreadableError && error.permission ? EXIT.NOT_PERMITTED : EXIT.CONFIG,
    };
  if (error instanceof RefusedError)
    return {
      lines: [`knockd-nft: ${error.message}`],
      exit: error.permission ? EXIT.NOT_PERMITTED : EXIT.FAILED,
    };
  if (error instanceof UsageError) return { lines: [`knockd-nft: ${error.message}`], exit: EXIT.USAGE };
  const known = explain(error);
  const lines = known === undefined ? stackOf(error).split('\n') : [known];
  return {
    lines: lines.map((line, index) => (index === 0 ? `knockd-nft: ${line}` : line)),
    exit: isNotPermitted(error) || isForbidden(error) ? EXIT.NOT_PERMITTED : EXIT.FAILED,
  };
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Prints why something failed, unless it printed the same just before. */
export function tellingOnce({ tell }: Context): (error: unknown) => void {
  let told: string | undefined;
  return error => {
    const { lines } = failureOf(error);
    if (lines.join('\n') !== told) tell(lines);
    told = lines.join('\n');
  };
}
