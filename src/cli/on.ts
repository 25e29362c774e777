import { nearest } from '../config/nearest.ts';
import { EVENTS, type EventName } from '../events/event.ts';
import { followEvents } from '../events/follow.ts';
import { Hook } from '../events/hook.ts';
import { eventsPath } from '../host/hold.ts';
import { SERVICE_USER } from '../host/service-user.ts';
import type { Span } from '../inet/duration.ts';
import { openJournal } from '../supervisor/journal.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { readTime } from './words.ts';

const TIMEOUTS: Span = {
  shortest: 1000,
  longest: 24 * 60 * 60_000,
  expected: 'seconds as a number, or a duration such as "30s", from 1 s to 24 h',
};
const MOST_AT_ONCE = 100;
/** How often we may be refused. We may come at the instant when the socket is made but has no rights yet. */
const REFUSALS = 3;

interface OnOptions {
  readonly service?: string;
  readonly timeout?: string;
  readonly atOnce?: string;
}

/** `on`: runs a command for each event of the supervisor, as the user that started `on`, until a signal stops it. */
export async function onCommand(
  context: Context,
  words: readonly string[],
  options: OnOptions,
): Promise<number> {
  const { env, json } = context;
  const [name = '', program = '', ...args] = words;
  const event = readEvent(name);
  const { service } = options;
  if (service !== undefined && !EVENTS[event].service)
    throw new UsageError(`--service ${service}: "${event}" has no service`);
  const timeout = readTime('--timeout', options.timeout ?? '30s', TIMEOUTS);
  const atOnce = Number(options.atOnce ?? '4');
  if (!Number.isInteger(atOnce) || atOnce < 1 || atOnce > MOST_AT_ONCE)
    throw new UsageError(`--at-once ${options.atOnce}: expected a number from 1 to ${MOST_AT_ONCE}`);

  const journal = openJournal({ level: 'info', format: json ? 'json' : 'text' }, env, () => {});
  const warn = (message: string) => journal.note('warn', message);
  const hook = new Hook([program, ...args], { timeout, atOnce, warn });
  const stopped = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => stopped.abort());
  let told = '';
  let refusals = 0;
  for await (const message of followEvents(eventsPath(env), stopped.signal)) {
    if (message.is === 'told') {
      if (message.told.event === event && (service === undefined || message.told.service === service))
        hook.add(message.told, message.line);
      continue;
    }
    if (message.is === 'connected') {
      const { services, table } = message.snapshot;
      journal.note('info', `waiting for "${event}"${service === undefined ? '' : ` of ${service}`}`);
      if (service !== undefined && table !== null && !services.includes(service))
        warn(`there is no service "${service}" in the table that is loaded`);
      told = '';
      continue;
    }
    if (message.is === 'refused' && ++refusals >= REFUSALS) {
      warn(`not permitted: ${message.why}; members of group ${SERVICE_USER} may read events`);
      await hook.close();
      return EXIT.NOT_PERMITTED;
    }
    if (message.is === 'waiting') refusals = 0;
    if (message.is === 'waiting' && message.why !== told) {
      told = message.why;
      warn(`${told}: events until it is back are missed; trying again`);
    }
  }
  await hook.close();
  return EXIT.DONE;
}

function readEvent(word: string): EventName {
  if (Object.hasOwn(EVENTS, word)) return word as EventName;
  const names = Object.keys(EVENTS);
  const near = nearest(word, names);
  throw new UsageError(`there is no event "${word}"; the nearest is "${near}", of ${names.join(', ')}`);
}
