import { UsageError } from './context.ts';

/** The options of knock(1), knockd's client, by commander's names for them, with what to write here instead. */
const INSTEAD = {
  u: '-u: write each knock as 2345/udp',
  t: '-t: a knock is TCP unless it is written as 2345/udp: leave it out',
  d: '-d: write --gap 500ms',
  v: '-v: leave it out; --json says more',
  4: '-4: write the IPv4 address instead of the name',
  6: '-6: write the IPv6 address instead of the name',
} as const;

/** As options of the command line, not shown. */
export const KNOCKD_OPTIONS = [['-u'], ['-t'], ['-d <milliseconds>'], ['-v'], ['-4'], ['-6']] as const;

/** Throws UsageError if the command line has options of that client. */
export function refuseKnockdOptions(options: object): void {
  const found = Object.entries(INSTEAD).filter(([name]) => Object.hasOwn(options, name));
  if (found.length > 0)
    throw new UsageError(
      `knockd-nft does not know the options of knockd's client. ${found.map(([, text]) => text).join('. ')}`,
    );
}
