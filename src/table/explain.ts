import {
  NetlinkError,
  SilentError,
  StaleGenerationError,
  TransactionTooLargeError,
  UnansweredError,
} from '../netlink/errors.ts';
import { featureText, missingFeature } from '../nftables/feature.ts';
import { CannotChangeError, ForeignTableError, HalfDoneError, LockedError, TrialError } from './errors.ts';

/** Whether the kernel refused because this process may not change its ruleset. */
export function isNotPermitted(error: unknown): boolean {
  return error instanceof NetlinkError && error.code === 'EPERM';
}

/** One sentence for people about why a load failed; undefined for an unexpected error. */
export function explain(error: unknown): string | undefined {
  if (error instanceof HalfDoneError)
    return `${error.message}; a part is done already, and the guards are as before or as the file says: run it again`;
  if (error instanceof UnansweredError)
    return `${error.message}: the kernel took the transaction, and may have done it: check with "knockd-nft diff", or run it again`;
  if (isNotPermitted(error)) return 'not permitted: this needs the capability CAP_NET_ADMIN (run it as root)';
  if (error instanceof NetlinkError) {
    const lacking = missingFeature(error);
    return `the kernel refuses ${error.message}${lacking ? `: it lacks ${featureText(lacking)}` : ''}; nothing was changed`;
  }
  if (error instanceof StaleGenerationError)
    return 'other programs keep changing the ruleset; nothing was changed, try again';
  if (
    error instanceof ForeignTableError ||
    error instanceof CannotChangeError ||
    error instanceof TransactionTooLargeError ||
    error instanceof TrialError ||
    error instanceof SilentError ||
    error instanceof LockedError
  )
    return error.message;
  if (isForbidden(error)) return `not permitted: ${error.message}${isRoot() ? '' : ' (run it as root)'}`;
  if (isSystemError(error))
    return `${error.message}${error.code === 'ENOSPC' ? ': make room there, and try again' : ''}`;
  return undefined;
}

/** The same for an unexpected error, too. */
export function reasonOf(error: unknown): string {
  return explain(error) ?? (error instanceof Error ? error.message : String(error));
}

/** Whether the system refused a call for lack of rights, mostly on a file. */
export function isForbidden(error: unknown): error is Error {
  return isSystemError(error) && (error.code === 'EACCES' || error.code === 'EPERM');
}

const isRoot = () => process.geteuid?.() === 0;

/** Whether the system refused a call, mostly about a file: `EROFS: read-only file system, open '/etc/…'`. */
function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}
