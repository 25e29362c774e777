import type { Position } from './problems.ts';
import type { Report } from './report.ts';
import type { Config, TokenSettings } from './types.ts';

/** A user's secret as it stands in the file; undefined if it could not be read. */
export interface PlacedToken {
  readonly at: Position;
  /** The key, `services.ssh.tokens.alice`. */
  readonly where: string;
  readonly service: string;
  readonly user: string;
  readonly secret: Uint8Array | undefined;
}

/** How many elements the kernel's map of tokens holds. */
export const MOST_TOKENS = 131_072;
/** One of them is the feeder's mark, which opens nothing. */
const MARKS = 1;
/**
 * Windows whose tokens the kernel holds beyond the hours: those that just ended, and those for clients whose clocks are
 * ahead.
 */
const SPARE_WINDOWS = 5;

/** How many users have tokens, each device and service by itself. */
export function countUsers(services: Config['services']): number {
  return services.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

/** How many tokens of each user the kernel holds: enough for `hours`, or as many as fit. */
export function windowsFor(users: number, hours: number): number {
  const fit =
    users === 0 ? Number.POSITIVE_INFINITY : Math.floor((MOST_TOKENS - MARKS) / users) - SPARE_WINDOWS;
  return Math.min(60 * hours, fit);
}

/** Whether the kernel's map has room for that many windows of each user. */
export function haveRoom(users: number, windows: number): boolean {
  return users * windows + MARKS <= MOST_TOKENS;
}

/** Reports mistakes and weaknesses in the secrets, each alone and against the others, in the order of the file. */
export function tellTokens(tokens: readonly PlacedToken[], { hours }: TokenSettings, report: Report): void {
  const known = new Map<string, PlacedToken>();
  for (const token of tokens) {
    if (token.secret === undefined) continue;
    const id = Buffer.from(token.secret).toString('hex');
    const other = known.get(id);
    if (other === undefined) known.set(id, token);
    else if (other.service === token.service)
      report.wrong(
        token.at,
        token.where,
        `the secret of ${placeOf(other)}`,
        'a secret of its own for each user',
      );
    else
      report.warning(
        token.at,
        `${token.where}: the secret of ${placeOf(other)}, too; anyone who gets one has both`,
      );
  }
  const [first] = tokens;
  const windows = windowsFor(tokens.length, hours);
  if (first === undefined || windows >= 60 * hours) return;
  if (windows < 60) {
    const most = Math.floor((MOST_TOKENS - MARKS) / (60 + SPARE_WINDOWS));
    report.wrong(first.at, first.where, `${tokens.length} users have tokens`, `at most ${most} on one host`);
    return;
  }
  const fit = Math.floor(windows / 6) / 10;
  report.warning(
    first.at,
    `${first.where}: the tokens of ${tokens.length} users fit into the kernel for ${fit} hours, not ${hours}`,
  );
}

function placeOf({ where, at }: PlacedToken): string {
  return `${where} (line ${at.line})`;
}
