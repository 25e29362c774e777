import { formatProblem, type Problem } from '../config/problems.ts';
import { clientText } from '../ruleset/client.ts';
import { changeText, count } from '../ruleset/describe.ts';
import type { KnownClient } from '../table/clients.ts';
import type { ByHand } from './clients.ts';
import type { LoadOutcome } from './job.ts';
import type { Fields, Journal } from './journal.ts';

/** Lines of the journal for what happened. */

export function tellLoad(journal: Journal, load: LoadOutcome): void {
  const { event, table, services, changes } = load;
  const what = changes.length > 0 ? `: ${changes.map(changeText).join('; ')}` : '';
  const message = `${event} table inet ${table}, ${count(services.length, 'service')}${what}`;
  journal.tell(event, message, fieldsOf(load));
}

export function tellRepair(journal: Journal, load: LoadOutcome, clients: number): void {
  const done = load.event === 'loaded' ? 'removed' : 'changed';
  const message = `restored table inet ${load.table}: another program had ${done} it`;
  journal.tell('restored', message, { ...fieldsOf(load), clients }, 'warn');
}

function fieldsOf({ table, services, objects, sessions }: LoadOutcome): Fields {
  return { table, services: services.length, objects, sessions };
}

export function tellProblems(journal: Journal, errors: readonly Problem[]): void {
  for (const problem of errors) {
    const { file, line, column } = problem;
    journal.tell('invalid', `invalid ${formatProblem(problem)}`, { file, line, column }, 'error');
  }
}

export function tellOpened(journal: Journal, load: LoadOutcome, client: KnownClient): void {
  const { service } = client;
  const who = clientFields(load, client);
  journal.tell('opened', `opened ${service} for ${who.client}`, { ...who, openFor: seconds(client) });
}

export function tellByHand(journal: Journal, load: LoadOutcome, { granted, revoked }: ByHand): void {
  for (const client of granted) {
    const who = clientFields(load, client);
    const openFor = seconds(client);
    journal.tell('granted', `granted ${client.service} to ${who.client}`, { ...who, openFor });
  }
  for (const client of revoked) {
    const who = clientFields(load, client);
    journal.tell('revoked', `revoked ${client.service} from ${who.client}`, who);
  }
}

function clientFields({ prefix, users }: LoadOutcome, { service, family, key, place }: KnownClient) {
  const user = new Map(users).get(place ?? 0) ?? null;
  return { service, client: clientText(family, Buffer.from(key), prefix[family]), user };
}

function seconds({ timeout }: KnownClient): number | null {
  return timeout === null ? null : timeout / 1000;
}
