import { formatDuration } from '../inet/duration.ts';
import type { Client, Knocking, Mistaken, Status } from './status.ts';

/** A status in words, for every command that shows one. */

const SYNC = new Map([
  [true, 'as the configuration says'],
  [false, 'not as the configuration says'],
  [null, 'the configuration cannot be used'],
]);

/** Cells of a table. Each row has as many as the head. */
export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** During a hold (`held`) it does not advise a load, since that would be refused. */
export function headline(
  { loaded, table, inSync, guarded }: Pick<Status, 'loaded' | 'table' | 'inSync' | 'guarded'>,
  held = false,
): string {
  if (!loaded) return 'not loaded: nothing is guarded';
  const mend = inSync === false && !held ? ': "knockd-nft load" puts it right' : '';
  const open = guarded === false ? '; NOTHING IS GUARDED' : '';
  return `table inet ${table}: ${SYNC.get(inSync)}${mend}${open}`;
}

interface ClientOf extends Client {
  readonly service: string;
}

/** All clients that are in, by service. */
export function clientsIn({ services }: Status): ClientOf[] {
  return Object.entries(services).flatMap(([service, { clients }]) =>
    clients.map(client => ({ ...client, service })),
  );
}

export function clientTable(clients: readonly ClientOf[]): Table {
  const rows = clients.map(({ address, service, user, expires }) => [
    address,
    service,
    user ?? '-',
    leftText(expires),
  ]);
  return { head: ['CLIENT', 'SERVICE', 'USER', 'LEFT'], rows };
}

/** A client in mid-sequence, and how many more sequences than this one go through its place. */
export interface Knocker extends Knocking {
  readonly others: number;
}

/** Each client in mid-sequence once, in the order of the kernel. */
export function knockers({ knocking }: Status): Knocker[] {
  const byAddress = new Map<string, Knocker>();
  for (const one of knocking) {
    const known = byAddress.get(one.address);
    byAddress.set(one.address, known ? { ...known, others: known.others + 1 } : { ...one, others: 0 });
  }
  return [...byAddress.values()];
}

export function knockingTable(knocking: readonly (Knocking & { readonly others?: number })[]): Table {
  const rows = knocking.map(({ address, service, user, step, of, expires, others = 0 }) => [
    address,
    others > 0 ? `${service} +${others}` : service,
    user ?? '-',
    `${step}/${of}`,
    leftText(expires),
  ]);
  return { head: ['KNOCKING', 'SERVICE', 'USER', 'STEP', 'LEFT'], rows };
}

/** How many clients with wrong knocks to name. */
const MOST_MISTAKEN = 5;

/** The latest few, and how many more. */
export function mistakenText(mistaken: readonly Mistaken[]): string {
  const told = mistaken
    .slice(0, MOST_MISTAKEN)
    .map(({ address, ago }) => (ago === null ? address : `${address} ${leftText(ago)} ago`));
  const more = mistaken.length - told.length;
  return [...told, ...(more > 0 ? [`${more} more in the last 10m`] : [])].join(', ');
}

/** The time left: `1m30s`, from seconds. It rounds up, so that it counts down to 1 as clocks do. */
export function leftText(seconds: number | null): string {
  return seconds === null ? 'for good' : formatDuration(Math.ceil(seconds) * 1000);
}
