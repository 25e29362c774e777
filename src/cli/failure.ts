import { ConfigError } from '../config/problems.ts';
import { ForeignTableError } from '../loader/load.ts';
import { NetlinkError, StaleGenerationError, TransactionTooLargeError } from '../netlink/errors.ts';
import { missingFeature } from '../nftables/feature.ts';
import { EXIT } from './context.ts';

/** What to tell people when a command failed, and the exit status. What is not expected is told with its stack. */
export function failureOf(error: unknown): { readonly message: string; readonly exit: number } {
  if (error instanceof ConfigError) return { message: error.message, exit: EXIT.CONFIG };
  if (error instanceof NetlinkError && error.code === 'EPERM')
    return {
      message: 'knockd-nft: not permitted: this needs the capability CAP_NET_ADMIN (run it as root)',
      exit: EXIT.NOT_PERMITTED,
    };
  if (error instanceof NetlinkError) {
    const needed = missingFeature(error);
    return {
      message: `knockd-nft: the kernel refuses ${error.message}${needed ? `: it lacks ${needed}` : ''}; nothing was changed`,
      exit: EXIT.FAILED,
    };
  }
  if (error instanceof StaleGenerationError)
    return {
      message: 'knockd-nft: other programs change the ruleset all the time; nothing was changed, try again',
      exit: EXIT.FAILED,
    };
  if (error instanceof ForeignTableError || error instanceof TransactionTooLargeError)
    return { message: `knockd-nft: ${error.message}`, exit: EXIT.FAILED };
  return {
    message: `knockd-nft: ${error instanceof Error ? error.stack : String(error)}`,
    exit: EXIT.FAILED,
  };
}
