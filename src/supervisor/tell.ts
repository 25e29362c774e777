import { setImmediate } from 'node:timers/promises';
import { formatProblem, type Problem } from '../config/problems.ts';
import type { Fields, Snapshot } from '../events/event.ts';
import type { Hold } from '../host/hold.ts';
import { clientText } from '../ruleset/client.ts';
import { changeText, count, listed } from '../ruleset/describe.ts';
import type { KnownClient } from '../table/clients.ts';
import { droppedText } from '../table/fit.ts';
import { type Clients, unpack } from './clients.ts';
import type { LoadOutcome } from './job.ts';
import type { Journal } from './journal.ts';

/** Lines of the journal, by event. */

export function tellLoad(journal: Journal, load: LoadOutcome): void {
  const { event, table, services, changes } = load;
  const what = changes.length > 0 ? `: ${listed(changes.map(changeText), '; ')}` : '';
  const message = `${event} table inet ${table}, ${count(services.size, 'service')}${what}`;
  journal.tell(event, message, fieldsOf(load));
}

export function tellRepair(journal: Journal, load: LoadOutcome, clients: number): void {
  const done = load.event === 'loaded' ? 'removed' : 'changed';
  const message = `restored table inet ${load.table}: another program had ${done} it`;
  journal.tell('restored', message, { ...fieldsOf(load), clients }, 'warn');
}

function fieldsOf({ table, services, objects, sessions }: LoadOutcome): Fields {
  return { table, services: services.size, objects, sessions };
}

export function tellProblems(journal: Journal, problems: readonly Problem[]): void {
  for (const problem of problems) {
    if (problem.severity !== 'error') continue;
    const { file, line, column } = problem;
    journal.tell('invalid', `invalid ${formatProblem(problem)}`, { file, line, column }, 'error');
  }
}

export function tellHeld(journal: Journal, { reason, until }: Hold): void {
  const end = until === null ? undefined : new Date(until).toISOString();
  journal.tell(
    'held',
    `held: ${reason}; the supervisor leaves the kernel as it is`,
    { reason, until: end },
    'warn',
  );
}

export function tellRefused(
  journal: Journal,
  { service, client }: { service: string; client: string },
): void {
  journal.tell('refused', `refused ${service} for ${client}`, { service, client });
}

export function tellOpened(journal: Journal, load: LoadOutcome, client: KnownClient): void {
  const { service } = client;
  const who = clientFields(load, client);
  journal.tell('opened', `opened ${service} for ${who.client}`, { ...who, openFor: seconds(client) });
}

/** How many lines to write without a pause. All clients may have been revoked at once. */
const AT_ONCE = 100;

export async function tellByHand(journal: Journal, load: LoadOutcome): Promise<void> {
  let told = 0;
  const pause = () => (++told % AT_ONCE === 0 ? setImmediate() : undefined);
  for (const client of unpack(load.granted)) {
    const who = clientFields(load, client);
    const openFor = seconds(client);
    journal.tell('granted', `granted ${client.service} to ${who.client}`, { ...who, openFor });
    await pause();
  }
  for (const client of unpack(load.revoked)) {
    const who = clientFields(load, client);
    journal.tell('revoked', `revoked ${client.service} from ${who.client}`, who);
    await pause();
  }
}

export function tellDropped(journal: Journal, load: LoadOutcome): void {
  for (const dropped of load.dropped) journal.note('warn', droppedText(dropped));
}

/** The most clients in a snapshot. */
const MOST_CLIENTS = 500;

/** The clients that are in at the time `now`, as `monotonic` counts, up to the most that a snapshot names. */
export function clientsNow(
  load: LoadOutcome | undefined,
  clients: Clients,
  now: number,
): Pick<Snapshot, 'clients' | 'more'> {
  const named: Snapshot['clients'][number][] = [];
  let more = 0;
  if (load)
    for (const client of clients.each()) {
      if (named.length === MOST_CLIENTS) {
        more = clients.size - MOST_CLIENTS;
        break;
      }
      const { until } = client;
      const expires = until === null ? null : Math.max(0, until - now) / 1000;
      named.push({ ...clientFields(load, client), expires });
    }
  return { clients: named, more };
}

function clientFields({ prefix, users }: LoadOutcome, { service, family, key, place }: KnownClient) {
  const user = users.get(place ?? 0) ?? null;
  return { service, client: clientText(family, Buffer.from(key), prefix[family]), user };
}

function seconds({ timeout }: KnownClient): number | null {
  return timeout === null ? null : timeout / 1000;
}
