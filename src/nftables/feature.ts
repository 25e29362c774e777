import type { NetlinkError } from '../netlink/errors.ts';
import { GENERATION } from './transaction.ts';

/** What an expression needs from the kernel. If it is missing, the kernel answers ENOENT or EOPNOTSUPP. */
const REQUIREMENTS: Readonly<Record<string, string>> = {
  ct: 'connection tracking in nf_tables (module nft_ct, Linux 3.14)',
  dynset: 'sets that packets write and delete from (CONFIG_NF_TABLES, Linux 5.4)',
  fib: 'the fib expression (module nft_fib_inet, Linux 4.10)',
  limit: 'rate limits (module nft_limit, Linux 3.13)',
  log: 'logging to userspace (modules nft_log and nfnetlink_log, Linux 3.17)',
  objref: 'named counters (module nft_objref, Linux 4.10)',
  payload: 'data behind the header of TCP ("payload" of tokens, Linux 5.16)',
  reject: 'reject in the hook (module nft_reject_inet; in prerouting since Linux 5.9)',
  socket: 'the socket expression with "wildcard" (module nft_socket, Linux 5.10)',
};

/** The feature that a kernel lacks if it refused something, and the first Linux with it; undefined for other errors. */
export function missingFeature({ code, failure: { part, subject } }: NetlinkError): string | undefined {
  const isUnsupported = code === 'EOPNOTSUPP' || code === 'ENOTSUP'; // Node's name for the same
  if (part) return isUnsupported || code === 'ENOENT' ? requirementOf(part.kind) : undefined;
  // nobody answers for the subsystem (net/netfilter/nfnetlink.c)
  if (subject === GENERATION && code === 'EINVAL') return 'nf_tables (module nf_tables, Linux 3.13)';
  if (subject.startsWith('table ') && isUnsupported) return INET;
  return undefined;
}

export const INET = 'tables of family inet (CONFIG_NF_TABLES_INET, Linux 3.14)';

/** The feature behind a kind of expression, and the first Linux with it; undefined for kinds that every kernel has. */
export function requirementOf(kind: string): string | undefined {
  return REQUIREMENTS[kind];
}
