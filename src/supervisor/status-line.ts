import { formatProblem } from '../config/problems.ts';
import type { Fed } from '../feeder/apply.ts';
import { holdText } from '../host/hold.ts';
import { NOTHING_LOOKED_AT } from '../host/interfaces.ts';
import { SILENT } from '../host/mounts.ts';
import { listed } from '../ruleset/describe.ts';
import { nextRepair } from './pauses.ts';
import type { InForce, State } from './state.ts';

/** A problem, and since when, as `monotonic` counts. */
export interface Trouble {
  readonly what: string;
  readonly since: number;
}

/** Facts that the state does not hold. `nowhere`: no packet comes in by any of the `interfaces`. */
export interface Beside {
  readonly tokens: Fed;
  /** Why other programs cannot read events. */
  readonly stream: Trouble | undefined;
  /** Why other commands cannot know of the supervisor. */
  readonly notes: Trouble | undefined;
  readonly nowhere: boolean;
  /** The loaded configuration cannot be kept for a boot with a bad file. */
  readonly unkept: boolean;
  /** The file that does not answer, and since when. */
  readonly silent: { readonly path: string; readonly since: number } | undefined;
}

/** One line for `systemctl status`, true at this moment. */
export function statusLine(
  state: State,
  { clients, tokens, stream, notes, nowhere, silent }: Beside & { readonly clients: number },
  now: number,
): string {
  const { hold, inForce, file, path, events, look } = state;
  if (hold) return `held: ${holdText(hold)}`;
  const table = tableTrouble(state, now);
  const guarding = inForce
    ? `${purpose(inForce, table !== undefined || nowhere)}; ${clients} in`
    : 'nothing is loaded yet';
  const wrong = table ?? fileTrouble(state);
  const standing = wrong
    ? `NOT in force: ${wrong.what}`
    : `${path} is ${file.is === 'done' ? 'in force' : 'being loaded'}`;
  const also = [
    silenceTrouble(silent),
    lookTrouble(look),
    eventsTrouble(events),
    stream,
    notes,
    tokensTrouble(tokens, now),
  ].flatMap(trouble => (trouble ? [trouble.what] : []));
  const until = tokens.is === 'fed' ? [`tokens until ${new Date(tokens.until).toISOString()}`] : [];
  const unreached = inForce && nowhere ? [`"interfaces": ${NOTHING_LOOKED_AT}`] : [];
  return [...unreached, guarding, standing, ...until, ...also].join('; ');
}

/** `guarding ssh, web; reporting wake` */
function purpose({ services, events }: InForce, isLost: boolean): string {
  const guarded = services.filter(name => !events.includes(name));
  const [guard, tell] = isLost ? ['should guard', 'should report'] : ['guarding', 'reporting'];
  const guards =
    guarded.length > 0 || events.length === 0 ? [`${guard} ${listed(guarded, ', ') || 'nothing'}`] : [];
  return [...guards, ...(events.length > 0 ? [`${tell} ${listed(events, ', ')}`] : [])].join('; ');
}

/** All problems at this moment, the worst first. */
export function troubles(
  state: State,
  now: number,
  { tokens, stream, notes, unkept, silent }: Omit<Beside, 'nowhere'>,
): readonly Trouble[] {
  const all = [
    tableTrouble(state, now),
    fileTrouble(state),
    silenceTrouble(silent),
    lookTrouble(state.look),
    eventsTrouble(state.events),
    stream,
    notes,
    tokensTrouble(tokens, now),
    unkept ? { what: 'the configuration cannot be kept for a boot with a bad one', since: now } : undefined,
  ];
  return all.filter(trouble => trouble !== undefined);
}

function silenceTrouble(silent: Beside['silent']): Trouble | undefined {
  return silent && { what: `${silent.path}: ${SILENT}`, since: silent.since };
}

function tokensTrouble(tokens: Fed, now: number): Trouble | undefined {
  if (tokens.is === 'failed') return { what: `tokens cannot be fed: ${tokens.message}`, since: now };
  if (tokens.is === 'waiting') return { what: 'no token opens until the clock is synchronized', since: now };
  if (tokens.is === 'fed' && tokens.unkept !== undefined)
    return { what: `used tokens cannot be remembered: ${tokens.unkept}`, since: now };
  return undefined;
}

function lookTrouble({ failure }: State['look']): Trouble | undefined {
  return (
    failure && {
      what: `cannot ask the kernel whether the table is there: ${failure.message}`,
      since: failure.since,
    }
  );
}

function eventsTrouble({ failure }: State['events']): Trouble | undefined {
  return failure && { what: `${failure.message}: events are not reported`, since: failure.since };
}

function tableTrouble({ table, inForce, repairs }: State, now: number): Trouble | undefined {
  const name = `table inet ${inForce?.table}`;
  if (table.is === 'failed')
    return { what: `${name} cannot be put back: ${table.failure.message}`, since: table.failure.since };
  if (table.is === 'due' && nextRepair(repairs, now) > now)
    return {
      what: `another program keeps changing ${name}: it is put back after a pause`,
      since: repairs.at(-1) ?? now,
    };
  return undefined;
}

function fileTrouble({ file, path, inForce, lastGood }: State): Trouble | undefined {
  if (file.is === 'invalid') {
    const [problem] = file.problems;
    return { what: problem ? formatProblem(problem) : `${path} is not valid`, since: file.since };
  }
  if (file.is !== 'failed') return undefined;
  const { message, since } = file.failure;
  const also =
    !inForce && lastGood.is === 'failed' ? `; nor the last good one: ${lastGood.failure.message}` : '';
  return { what: `cannot load ${path}: ${message}${also}`, since };
}
