import { type Counts, happenings, increases } from '../ruleset/happenings.ts';
import type { Status } from '../ruleset/status.ts';
import type { Seen } from './hearing.ts';

/** All that a live view shows: the last look, and what it saw before. */
export interface Story {
  readonly status: Status;
  /** Counts since the first look, by service. */
  readonly counted: ReadonlyMap<string, Counts>;
  readonly wrongKnocks: number;
  /** Refused packets a second, in the time before the last look, by service. */
  readonly rates: ReadonlyMap<string, number>;
  /** The latest happenings, the oldest first. */
  readonly told: readonly { readonly time: Date; readonly happening: Seen }[];
}

/** How many happenings to keep. No screen shows more. */
const KEPT = 200;

/** The story after one more look at the kernel, `seconds` after the one before. */
export function goOn(
  story: Story | undefined,
  status: Status,
  seconds: number,
  time: Date,
  heard: readonly Seen[] = [],
): Story {
  const before = story?.status;
  const { services, wrongKnocks } = increases(before, status);
  const counted = new Map(story?.counted);
  for (const [service, counts] of services) counted.set(service, sum(counted.get(service), counts));
  const happened = [...heard, ...happenings(before, status, seconds)].slice(-KEPT);
  return {
    status,
    counted,
    wrongKnocks: (story?.wrongKnocks ?? 0) + wrongKnocks,
    rates: new Map([...services].map(([service, { refused }]) => [service, refused / seconds])),
    told: [...(story?.told ?? []), ...happened.map(happening => ({ time, happening }))].slice(-KEPT),
  };
}

function sum(a: Counts | undefined, b: Counts): Counts {
  if (!a) return b;
  return { opened: a.opened + b.opened, accepted: a.accepted + b.accepted, refused: a.refused + b.refused };
}

/** A status as it is `seconds` later, if nothing happens. */
export function aged(status: Status, seconds: number): Status {
  const later = <T extends { readonly expires: number | null }>(those: readonly T[]): T[] =>
    those.flatMap(one => {
      if (one.expires === null) return [one];
      const expires = one.expires - seconds;
      return expires > 0 ? [{ ...one, expires }] : [];
    });
  return {
    ...status,
    knocking: later(status.knocking),
    services: Object.fromEntries(
      Object.entries(status.services).map(([name, service]) => [
        name,
        { ...service, clients: later(service.clients) },
      ]),
    ),
  };
}
