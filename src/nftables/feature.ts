import type { NetlinkError } from '../netlink/errors.ts';
import { GENERATION } from './transaction.ts';

/** A part of the kernel that the program uses. */
export interface Feature {
  readonly what: string;
  /** The modules that have it, on kernels in which it is not built in. */
  readonly modules: readonly string[];
  /** The first Linux with it. */
  readonly since: string;
  /** The parts that work without it, and those that do not; undefined if no table can be loaded then. */
  readonly without?: string;
}

/** All features of the kernel that the program uses. The keys of expressions are their kinds. */
export const FEATURES = {
  nf_tables: { what: 'nf_tables', modules: ['nf_tables'], since: '3.13' },
  inet: { what: 'tables of family inet, CONFIG_NF_TABLES_INET', modules: ['nf_tables'], since: '3.14' },
  comment: {
    what: 'comments of tables, by which knockd-nft knows its own',
    modules: ['nf_tables'],
    since: '5.10',
  },
  ct: { what: 'connection tracking in nf_tables', modules: ['nft_ct'], since: '3.14' },
  dynset: { what: 'sets that packets write and delete from', modules: ['nf_tables'], since: '5.4' },
  fib: { what: 'the fib expression', modules: ['nft_fib_inet'], since: '4.10' },
  limit: { what: 'rate limits', modules: ['nft_limit'], since: '3.13' },
  log: { what: 'logging to userspace', modules: ['nft_log', 'nfnetlink_log'], since: '3.17' },
  objref: { what: 'named counters', modules: ['nft_objref', 'nft_counter'], since: '4.10' },
  reject: { what: 'reject in the hook prerouting', modules: ['nft_reject_inet'], since: '5.9' },
  socket: { what: 'the socket expression with "wildcard"', modules: ['nft_socket'], since: '5.10' },
  payload: {
    what: 'data after the TCP header, for "payload" of tokens',
    modules: ['nf_tables'],
    since: '5.16',
    without: '"token.payload" is refused; tokens in datagrams work',
  },
  tcp_diag: {
    what: 'the list of TCP connections, and a way to end them',
    modules: ['tcp_diag'],
    since: '4.5',
    without: '"revoke --cut" ends no connection, and says so; a load finds the connections in /proc',
  },
  ctnetlink: {
    what: 'the list of tracked connections',
    modules: ['nf_conntrack_netlink'],
    since: '2.6.14',
    without: '"revoke --cut" ends only TCP connections to this host itself, and says so',
  },
  owner: {
    what: 'tables that are removed with their owner',
    modules: ['nf_tables'],
    since: '5.12',
    without:
      'the table of a "doctor --trace" that was killed stays until the next one; it traces nothing then',
  },
  size: {
    what: 'another size for an existing set',
    modules: ['nf_tables'],
    since: '6.5',
    without:
      'after a change of "limits" the sets are made anew, with the clients that are in; each set takes 1 MiB more',
  },
} as const satisfies Readonly<Record<string, Feature>>;

/** `rate limits (module nft_limit, Linux 3.13)` */
export function featureText({ what, modules, since }: Feature): string {
  return `${what} (module${modules.length > 1 ? 's' : ''} ${modules.join(' and ')}, Linux ${since})`;
}

const ALL: readonly Feature[] = Object.values(FEATURES);

/** The modules without which no table can be loaded. Newer kernels have some of them built in, and then the module has no name. */
export const NEEDED_MODULES: readonly string[] = [
  ...new Set(ALL.filter(({ without }) => without === undefined).flatMap(({ modules }) => modules)),
];

/** The first Linux with all that a load needs: `5.10`. */
export const FIRST_LINUX: string = ALL.filter(({ without }) => without === undefined)
  .map(({ since }) => since)
  .reduce((one, other) => (isOlder(one, other) ? other : one));

/** Whether a release, as `uname -r` says it, is older than `since`. */
export function isOlder(release: string, since: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map(Number);
  const [first = 0, least = 0] = since.split('.').map(Number);
  return major < first || (major === first && minor < least);
}

/** The feature that a kernel lacks if it refused something; undefined for other errors. */
export function missingFeature({
  code,
  failure: { part, subject },
}: Pick<NetlinkError, 'code' | 'failure'>): Feature | undefined {
  // the second is Node's name for the same error
  const isUnsupported = code === 'EOPNOTSUPP' || code === 'ENOTSUP';
  const isAbsent = isUnsupported || code === 'ENOENT';
  if (part) return isAbsent ? featureOf(part.kind) : undefined;
  // nobody answers for the subsystem (net/netfilter/nfnetlink.c)
  if (subject === GENERATION && code === 'EINVAL') return FEATURES.nf_tables;
  if (subject.startsWith('table ') && isUnsupported) return FEATURES.inet;
  if (subject.startsWith('counter ') && isAbsent) return FEATURES.objref;
  return undefined;
}

/** The feature behind a kind of expression; undefined for kinds that every kernel has. */
function featureOf(kind: string): Feature | undefined {
  return new Map<string, Feature>(Object.entries(FEATURES)).get(kind);
}
