import { formatProblem, type Problem } from '../config/problems.ts';
import type { Hold } from '../host/hold.ts';
import { nextRepair, pauseAfter, recentRepairs } from './pauses.ts';
import type { Failure, FileState, InForce, LastGood, Source, State } from './state.ts';

/** An event for the supervisor, its time, and the hold and the file at that moment. */
export type Event = {
  readonly now: number;
  readonly hold: Hold | undefined;
  /** The file, or one of its secrets, is not as it was when `changed` last told of it. That follows, once it is written. */
  readonly isFileNew: boolean;
} & (
  | { readonly is: 'changed' | 'reload' | 'held' }
  /** The file, which failed for want of an answer, can be read now. */
  | { readonly is: 'answered' }
  /** `isSame`: the generation is the one of the last answer. */
  | { readonly is: 'tick'; readonly isSame: boolean }
  | {
      readonly is: 'loaded';
      readonly inForce: InForce;
      /** Whether the kernel was changed for it. */
      readonly unchanged: boolean;
    }
  | { readonly is: 'invalid'; readonly problems: readonly Problem[]; readonly missing: boolean }
  | { readonly is: 'failed' | 'no generation'; readonly message: string }
  | { readonly is: 'generation'; readonly generation: number }
  /** We changed the ruleset ourselves, outside a load, and no other program had changed it before. */
  | { readonly is: 'wrote'; readonly generation: number }
  | { readonly is: 'listening'; readonly group: number }
  | { readonly is: 'not listening'; readonly group: number; readonly message: string }
);

/** An action that a decision asks for. */
export type Effect =
  /** A load begins, and will end as `loaded`, `invalid`, `failed` or `held`. */
  | { readonly do: 'load'; readonly source: Source }
  /** The load that runs does not wait long for its file. If it cannot read it now, it ends as `failed`. */
  | { readonly do: 'hurry' }
  /** The load counts now. The journal calls it a load, or the repair of another program's change. */
  | { readonly do: 'accept'; readonly source: Source; readonly as: 'load' | 'repair' }
  | { readonly do: 'tell invalid'; readonly problems: readonly Problem[] }
  | { readonly do: 'tell held'; readonly hold: Hold }
  | { readonly do: 'note'; readonly level: 'info' | 'warn' | 'error'; readonly message: string }
  /** The answer will be `generation` or `no generation`. `anew` means on another socket. */
  | { readonly do: 'ask'; readonly anew: boolean }
  /** The answer will be `listening` or `not listening`. */
  | { readonly do: 'listen'; readonly group: number }
  /** A tick is wanted then. */
  | { readonly do: 'wake'; readonly at: number }
  /** The start or reload that was asked for is done. */
  | { readonly do: 'ready' };

interface Decision {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** How long a file may be invalid without a word about it. */
const HALF_WRITTEN = 100;
/** An answer of the kernel that takes this long is lost. */
const ANSWER = 5000;

/**
 * The next state, and the actions to take now. This is a pure function. A load that is due stays due until it has been done.
 * Loads run one after the other, and none begins while there is a hold.
 */
export function decide(before: State, event: Event): Decision {
  const held = decideHold(before, event);
  const decided = react(held.state, event);
  const begun = begin(fileFirst(decided.state, event), event.now);
  const effects = [...held.effects, ...decided.effects, ...begun.effects];
  const state = begun.state;
  // a reload is not done by a load that began before it
  const isDone = event.is === 'loaded' && (!before.inForce || state.job?.source !== 'file');
  const settled = isDone || (!state.job && state.file.is !== 'doubtful');
  if (state.announced || !settled) return { state, effects };
  return { state: { ...state, announced: true }, effects: [...effects, { do: 'ready' }] };
}

/** When a hold ends, the file may have changed. If another hold follows at once, it is reported, too. */
function decideHold(before: State, { hold }: Event): Decision {
  const state = { ...before, hold };
  const isKnown = hold?.reason === before.hold?.reason && hold?.until === before.hold?.until;
  if (hold && !isKnown) return { state, effects: [{ do: 'tell held', hold }] };
  return { state: !hold && before.hold ? changed(state) : state, effects: [] };
}

/**
 * A repair needs the file first if that is new: what we know as in force may be out of date. A trial may have come and gone
 * while we stood still. A file that turns out not to be valid does not keep the table waiting.
 */
function fileFirst(state: State, { isFileNew, now }: Event): State {
  const isRead = !state.job && state.file.is !== 'doubtful';
  return isFileNew && isRead && isDue(state.table, now) ? changed(state) : state;
}

function react(state: State, event: Event): Decision {
  const { now } = event;
  switch (event.is) {
    case 'tick':
      return tick(state, event.isSame, now);
    case 'changed':
      return only(changed(state));
    case 'answered':
      return only(answered(state, now));
    case 'reload':
      return only({ ...changed(state), announced: false });
    case 'held': // the file may have changed, and the hold be over
      return only(changed({ ...state, job: undefined }));
    case 'loaded':
      return loaded(state, event, now);
    case 'invalid':
      return invalid(state, event, now);
    case 'failed':
      return failed(state, event.message, now);
    case 'generation':
      return { state: saw(state, event.generation), effects: mayBeLost(state, event.generation) };
    case 'wrote':
      return only(
        state.inForce ? { ...state, inForce: { ...state.inForce, generation: event.generation } } : state,
      );
    case 'no generation': {
      const { failure, isNew } = failing(state.look.failure, event.message, now);
      const message = `cannot ask the kernel whether the table is there: ${event.message}; trying again`;
      return {
        state: { ...state, look: { ...state.look, asked: undefined, failure } },
        effects: isNew ? [{ do: 'note', level: 'error', message }] : [],
      };
    }
    case 'listening':
      return only({ ...state, events: { group: event.group, is: 'open', failure: undefined } });
    case 'not listening': {
      const { group, message } = event;
      const known = state.events.group === group ? state.events.failure : undefined;
      const { failure, isNew } = failing(known, message, now);
      const told: Effect = { do: 'note', level: 'warn', message: `${message}: events are not reported` };
      return { state: { ...state, events: { group, is: 'closed', failure } }, effects: isNew ? [told] : [] };
    }
  }
}

const only = (state: State): Decision => ({ state, effects: [] });

/** The file has to be read again, however the last load ended. The last good file may have changed, too. */
function changed(state: State): State {
  const { lastGood } = state;
  return {
    ...fileDue(state),
    nothing: undefined,
    lastGood: lastGood.is === 'missing' || lastGood.is === 'invalid' ? DUE : lastGood,
  };
}

function fileDue(state: State): State {
  const { job } = state;
  return job?.source === 'file' ? { ...state, job: { ...job, stale: true } } : { ...state, file: DUE };
}

/** The last good file is none the better for it. If the file fails again for the same reason, that is no news. */
function answered(state: State, now: number): State {
  const { file, job } = state;
  if (file.is !== 'failed' || job?.source === 'file') return fileDue(state);
  return { ...state, file: againBy(file, now) };
}

/** A file that failed does not wait for longer than until `at`. */
function againBy(file: FileState, at: number): FileState {
  if (file.is !== 'failed') return file;
  const { failure } = file;
  return { is: 'failed', failure: { ...failure, again: Math.min(failure.again, at) } };
}

function tick(state: State, isSame: boolean, now: number): Decision {
  const { file, look, job, hold, events, inForce, lastGood } = state;
  const effects: Effect[] = [];
  let next = state;
  if (file.is === 'doubtful' && file.until <= now) {
    effects.push({ do: 'tell invalid', problems: file.problems });
    next = { ...next, file: { is: 'invalid', problems: file.problems, since: now } };
  }
  const lost = look.asked !== undefined && now - look.asked >= ANSWER;
  const isKnown = isSame && look.generation === inForce?.generation;
  const mayAsk = lost || (look.asked === undefined && !isKnown);
  const isReading = job?.source === 'file';
  if ((!job || (isReading && inForce)) && !hold && mayAsk && isOver(look.failure, now)) {
    effects.push({ do: 'ask', anew: lost });
    next = { ...next, look: { ...look, asked: now } };
  }
  if (isReading && !inForce && isDue(lastGood, now)) effects.push({ do: 'hurry' });
  if (inForce && events.is === 'closed' && isOver(events.failure, now)) {
    effects.push({ do: 'listen', group: inForce.group });
    next = { ...next, events: { ...events, is: 'opening' } };
  }
  return { state: next, effects };
}

const isOver = (failure: Failure | undefined, now: number) => !failure || failure.again <= now;

function loaded(state: State, event: Event & { readonly is: 'loaded' }, now: number): Decision {
  const { inForce, unchanged } = event;
  const source = state.job?.source ?? 'file';
  const as = source === 'file' || !state.inForce ? 'load' : 'repair';
  const repaired = as === 'repair' && !unchanged;
  const effects: Effect[] = [];
  if (source === 'last good') {
    const message = `${whyNot(state)}: the last good configuration is in force instead`;
    effects.push({ do: 'note', level: 'error', message });
  }
  effects.push({ do: 'accept', source, as });
  if (state.table.is === 'failed' && unchanged)
    effects.push({
      do: 'note',
      level: 'info',
      message: `table inet ${inForce.table} is as it was loaded again`,
    });
  const moved = state.events.group !== inForce.group;
  if (moved) effects.push({ do: 'listen', group: inForce.group });
  const later = isLater(state.look.generation, inForce.generation);
  return {
    state: {
      ...state,
      job: undefined,
      inForce,
      table: later ? DUE : DONE,
      // one more load has seen all: if the kernel unloaded nf_tables, it counts from the start, and no load would ever be late enough
      look: later ? { ...state.look, generation: undefined } : state.look,
      file: fileAfter(state, source, repaired, now),
      repairs: repaired ? [...recentRepairs(state.repairs, now), now] : state.repairs,
      events: moved ? { group: inForce.group, is: 'opening', failure: undefined } : state.events,
    },
    effects,
  };
}

/** What is left to be done about the file after a load. */
function fileAfter({ file, job }: State, source: Source, repaired: boolean, now: number): FileState {
  if (source === 'file') return job?.stale ? DUE : DONE;
  // somebody may have mended what kept the file from being loaded, and loaded it by hand, which this repair has undone
  return repaired ? againBy(file, now + pauseAfter(1)) : file;
}

/** Whether another program wrote after the load. The number of a generation wraps around. */
function isLater(seen: number | undefined, loaded: number): boolean {
  return seen !== undefined && ((seen - loaded) | 0) > 0;
}

function wasLater({ look, inForce }: State): boolean {
  return inForce !== undefined && isLater(look.generation, inForce.generation);
}

const DONE = { is: 'done' } as const;
const DUE = { is: 'due' } as const;

function invalid(state: State, event: Event & { readonly is: 'invalid' }, now: number): Decision {
  const { problems, missing } = event;
  const { job } = state;
  const next = { ...state, job: undefined };
  if (job?.stale) return only({ ...next, file: DUE });
  if (job?.source === 'file') {
    const until = now + HALF_WRITTEN;
    return {
      state: { ...next, file: { is: 'doubtful', problems, until } },
      effects: [{ do: 'wake', at: until }],
    };
  }
  // the configuration in force was valid before, so its environment has changed
  const [first] = problems;
  const why = first ? formatProblem(first) : 'not valid';
  if (job?.source === 'in force') return failed(state, why, now);
  const told = missing ? 'no earlier one is kept' : `neither is the last good one: ${why}`;
  const message = `nothing can be loaded: ${whyNot(state)}, and ${told}`;
  return {
    state: { ...next, lastGood: { is: missing ? 'missing' : 'invalid' }, nothing: message },
    effects: message === state.nothing ? [] : [{ do: 'note', level: 'error', message }],
  };
}

function failed(state: State, message: string, now: number): Decision {
  const source = state.job?.source ?? 'file';
  const { key, what } = {
    file: { key: 'file', what: `cannot load ${state.path}` },
    'in force': { key: 'table', what: `cannot put table inet ${state.inForce?.table} back` },
    'last good': { key: 'lastGood', what: 'cannot load the last good configuration' },
  }[source] as { readonly key: 'file' | 'table' | 'lastGood'; readonly what: string };
  const task = state[key];
  const { failure, isNew } = failing(task.is === 'failed' ? task.failure : undefined, message, now);
  const told: Effect = { do: 'note', level: 'error', message: `${what}: ${message}; trying again` };
  // what we saw meanwhile may be this load's own work, or another program's
  const seen = source === 'file' && state.table.is === 'done' && wasLater(state);
  return {
    state: {
      ...state,
      job: undefined,
      table: seen ? DUE : state.table,
      [key]: state.job?.stale ? DUE : { is: 'failed', failure },
    },
    effects: isNew ? [told] : [],
  };
}

/** Counts one more failure in a row. It is new if the reason is another one. */
function failing(before: Failure | undefined, message: string, now: number) {
  const times = (before?.times ?? 0) + 1;
  const failure = { message, since: before?.since ?? now, times, again: now + pauseAfter(times) };
  return { failure, isNew: before?.message !== message };
}

/** If nothing is in force, another program may have loaded a configuration and kept it as the last good one. */
function saw(state: State, generation: number): State {
  const { inForce, table, lastGood, look } = state;
  const next = { ...state, look: { asked: undefined, generation, failure: undefined } };
  if (inForce) {
    const differs = inForce.generation !== generation && table.is === 'done' && !state.job;
    return differs ? { ...next, table: DUE } : next;
  }
  const isOther = look.generation !== undefined && look.generation !== generation;
  return isOther && (lastGood.is === 'missing' || lastGood.is === 'invalid')
    ? { ...next, lastGood: DUE }
    : next;
}

/** If another program may have taken our table during a load, the table does not wait for that load to read its file. */
function mayBeLost({ job, inForce }: State, generation: number): readonly Effect[] {
  const isOther = inForce !== undefined && inForce.generation !== generation;
  return job?.source === 'file' && isOther ? [{ do: 'hurry' }] : [];
}

/** Begins the next load, unless one runs or a hold forbids it. */
function begin(state: State, now: number): Decision {
  const source = state.job || state.hold ? undefined : nextSource(state, now);
  if (source === undefined) return only(state);
  return { state: { ...state, job: { source, stale: false } }, effects: [{ do: 'load', source }] };
}

/** A new file comes first, since it may be better than the one in force. A file that fails does not keep the others waiting. */
function nextSource(state: State, now: number): Source | undefined {
  const { file, table, lastGood, inForce } = state;
  if (file.is === 'due') return 'file';
  if (inForce && isDue(table, now) && nextRepair(state.repairs, now) <= now) return 'in force';
  if (!inForce && file.is !== 'doubtful' && isDue(lastGood, now)) return 'last good';
  return isDue(file, now) ? 'file' : undefined;
}

function isDue(task: FileState | LastGood, now: number): boolean {
  return task.is === 'due' || (task.is === 'failed' && task.failure.again <= now);
}

/** Why the file is not in force. */
function whyNot({ file, path }: State): string {
  return `${path} ${file.is === 'failed' ? 'cannot be loaded' : 'is not valid'}`;
}
