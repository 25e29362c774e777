import { ClientError } from '../client/error.ts';
import { ConfigError } from '../config/problems.ts';
import { explain, isNotPermitted } from '../table/explain.ts';
import { EXIT, UsageError } from './context.ts';

/** What to tell people when a command failed, and the exit status. What nobody expected is told with its stack. */
export function failureOf(error: unknown): { readonly message: string; readonly exit: number } {
  if (error instanceof ClientError) return { message: `knockd-nft: ${error.message}`, exit: EXIT.FAILED };
  if (error instanceof ConfigError) return { message: error.message, exit: EXIT.CONFIG };
  if (error instanceof UsageError) return { message: `knockd-nft: ${error.message}`, exit: EXIT.USAGE };
  const message = explain(error) ?? (error instanceof Error ? error.stack : String(error));
  return {
    message: `knockd-nft: ${message}`,
    exit: isNotPermitted(error) ? EXIT.NOT_PERMITTED : EXIT.FAILED,
  };
}
