import { countUsers } from '../config/tokens.ts';
import type { Config } from '../config/types.ts';
import { readBook } from '../feeder/book.ts';
import { hasTrustedClock } from '../feeder/clock.ts';
import { lastWindow } from '../feeder/feed-plan.ts';
import { UNKNOWN_WINDOWS } from '../feeder/ledger.ts';
import { names } from '../ruleset/names.ts';
import { beginOf, windowAt } from '../token/derive.ts';

/** How the tokens stand, as `status --json` has it. */
export interface TokenStatus {
  /** Names, by service. */
  readonly users: Readonly<Record<string, readonly string[]>>;
  /** When the last token in the kernel ends; null if that is not known, or if there is none. */
  readonly until: string | null;
  /** When tokens begin to open, if earlier ones may have been used and are left out; else null. */
  readonly from: string | null;
  /** Packets with a wrong token, and with one that was used before, since the table was made. */
  readonly wrong: number;
  readonly repeated: number;
  /** Problems, as sentences. */
  readonly trouble: readonly string[];
}

/** Undefined if the configuration has no tokens. Only root and the services may read the ledger. */
export function tokenStatus(
  { services, token }: Config,
  counters: ReadonlyMap<string, number>,
  env: NodeJS.ProcessEnv,
): TokenStatus | undefined {
  const having = services.filter(({ tokens }) => tokens.length > 0);
  if (having.length === 0) return undefined;
  const { ledger, missing } = readBook(env);
  const until = ledger?.fed ? beginOf(ledger.fed.until + 1) : undefined;
  const now = Date.now();
  const everybodyIsFresh = Object.values(ledger?.fed?.users ?? {}).every(({ fresh }) => fresh);
  const left = ledger?.fed && !everybodyIsFresh ? beginOf(ledger.floor + 1) : 0;
  const from = left > now ? new Date(left).toISOString() : null;
  const trouble = [
    ...(missing === undefined ? [] : [`there is no record of used ones: ${missing}`]),
    ...(hasTrustedClock()
      ? []
      : ['they wait: the clock is not synchronized, and this machine has no other clock']),
    ...(ledger && !ledger.fed ? ['they are not fed'] : []),
    ...(ledger?.fed ? ending(ledger.fed.until, lastWindow(now, countUsers(services), token.hours), now) : []),
    // after a first load or a boot this lasts a few minutes, and is no trouble
    ...(from !== null && left > beginOf(windowAt(now) + UNKNOWN_WINDOWS + 1)
      ? [`the clock was ahead when they were recorded, so none opens before ${from}`]
      : []),
  ];
  return {
    users: Object.fromEntries(having.map(({ name, tokens }) => [name, tokens.map(({ user }) => user)])),
    until: until === undefined ? null : new Date(until).toISOString(),
    from,
    wrong: counters.get(names.wrongTokens) ?? 0,
    repeated: counters.get(names.repeatedTokens) ?? 0,
    trouble,
  };
}

/** Minutes after which the timer has fed new ones, if no supervisor did before. */
const TIMER = 65;

/** Problems if the last window in the kernel is not the last one that should stand ready. */
function ending(until: number, wanted: number, now: number): readonly string[] {
  const end = beginOf(until + 1);
  if (end <= now) return ['they ran out: no new ones were fed'];
  if (wanted - until <= TIMER) return [];
  return [
    `no new ones were fed for ${wanted - until} minutes: the last ends at ${new Date(end).toISOString()}`,
  ];
}

export function tokenStatusLines({ users, until, from, wrong, repeated, trouble }: TokenStatus): string[] {
  const all = Object.entries(users).map(([service, having]) => `${service} (${having.join(', ')})`);
  return [
    `tokens: ${all.join('; ')}${until === null ? '' : `, until ${until}`}`,
    `wrong tokens: ${wrong}, repeated: ${repeated}`,
    ...(from === null ? [] : [`TOKENS: those before ${from} are left out: some may have been used`]),
    ...trouble.map(it => `TOKENS: ${it}`),
  ];
}
