import { count } from './describe.ts';
import type { Status } from './status.ts';
import { clientsIn, headline, type Knocker, knockers, leftText } from './status-text.ts';

/** The counters of a service. */
export interface Counts {
  /** Sequences completed, connections let in, packets refused. */
  readonly opened: number;
  readonly accepted: number;
  readonly refused: number;
}

interface Who {
  readonly address: string;
  readonly service: string;
  readonly user: string | null;
}

/** An event between two looks at the kernel, as far as their difference shows it. */
export type Happening =
  /** A table was loaded, replaced or removed, or it began or ceased to agree with the file. */
  | ({ readonly event: 'table' } & Pick<Status, 'loaded' | 'table' | 'inSync' | 'guarded'>)
  | ({ readonly event: 'knocking' } & Omit<Knocker, 'expires'>)
  | { readonly event: 'wrongKnocks'; readonly count: number }
  | { readonly event: keyof Counts; readonly service: string; readonly count: number }
  | ({ readonly event: 'in'; readonly expires: number | null } & Who)
  | ({ readonly event: 'out' } & Who);

/**
 * A time-out that ends later than before by more than this, in seconds, was set again. Looks and kernel clocks are not
 * exact.
 */
const RENEWED = 0.5;

/**
 * The difference of two looks `seconds` apart. The first look reports clients that are in or knocking, but no counters:
 * we cannot know how long they have been counting.
 */
export function happenings(before: Status | undefined, after: Status, seconds: number): Happening[] {
  const happened: Happening[] = [];
  const { loaded, table, inSync, guarded } = after;
  if (!before || headline(before) !== headline(after))
    happened.push({ event: 'table', loaded, table, inSync, guarded });
  const was = new Map(before && knockers(before).map(one => [one.address, one]));
  for (const { expires: _, ...now } of knockers(after)) {
    const then = was.get(now.address);
    if (then?.service !== now.service || then.user !== now.user || then.step !== now.step)
      happened.push({ event: 'knocking', ...now });
  }
  const { wrongKnocks, services } = increases(before, after);
  if (wrongKnocks > 0) happened.push({ event: 'wrongKnocks', count: wrongKnocks });
  const { came, went } = moves(before, after, seconds);
  const cameTo = new Map<string, number>();
  for (const { service } of came) cameTo.set(service, (cameTo.get(service) ?? 0) + 1);
  for (const [service, { opened, accepted, refused }] of services) {
    // moves() says more about the clients that are in now
    const unseen = opened - (cameTo.get(service) ?? 0);
    if (unseen > 0) happened.push({ event: 'opened', service, count: unseen });
    if (accepted > 0) happened.push({ event: 'accepted', service, count: accepted });
    if (refused > 0) happened.push({ event: 'refused', service, count: refused });
  }
  return [...happened, ...came, ...went];
}

/** The clients that came in, or came in again, and those that are out. */
function moves(before: Status | undefined, after: Status, seconds: number) {
  const id = ({ service, address }: Who) => `${service} ${address}`;
  const gone = new Map(before && clientsIn(before).map(client => [id(client), client]));
  const came = clientsIn(after).flatMap(client => {
    const then = gone.get(id(client));
    gone.delete(id(client));
    const renewed = !then || end(client) - (end(then) - seconds) > RENEWED;
    return renewed ? [{ event: 'in', ...client } as const] : [];
  });
  const went = [...gone.values()].map(
    ({ address, service, user }) => ({ event: 'out', address, service, user }) as const,
  );
  return { came, went };
}

function end({ expires }: { readonly expires: number | null }): number {
  return expires ?? Number.MAX_VALUE;
}

/** The growth of the counters between two looks, for each service that counted anything. */
export function increases(before: Status | undefined, after: Status) {
  const services = new Map<string, Counts>();
  if (!before) return { services, wrongKnocks: 0 };
  for (const [name, now] of Object.entries(after.services)) {
    const then = before.services[name];
    const grown = (key: keyof Counts) => increase(then?.[key] ?? 0, now[key]);
    const counts = { opened: grown('opened'), accepted: grown('accepted'), refused: grown('refused') };
    if (counts.opened + counts.accepted + counts.refused > 0) services.set(name, counts);
  }
  return { services, wrongKnocks: increase(before.wrongKnocks, after.wrongKnocks) };
}

/** A counter that is lower than before has started again. */
function increase(before: number, after: number): number {
  return after < before ? after : after - before;
}

/** One line for people: `ssh: 192.0.2.7 is in for 10s`. */
export function happeningText(happening: Happening): string {
  switch (happening.event) {
    case 'table':
      return headline(happening);
    case 'knocking': {
      const { address, service, user, step, of, others } = happening;
      const more = others > 0 ? `, or ${count(others, 'other')}` : '';
      return `${address} is knocking ${user === null ? service : `${service} ${user}`} ${step}/${of}${more}`;
    }
    case 'wrongKnocks':
      return count(happening.count, 'wrong knock');
    case 'opened':
    case 'accepted':
    case 'refused':
      return `${happening.service} ${happening.event} ${happening.count}`;
    case 'in': {
      const time = happening.expires === null ? 'for good' : `for ${leftText(happening.expires)}`;
      return `${happening.service}: ${who(happening)} is in ${time}`;
    }
    case 'out':
      return `${happening.service}: ${who(happening)} is out`;
  }
}

function who({ address, user }: Who): string {
  return user === null ? address : `${address} (${user})`;
}
