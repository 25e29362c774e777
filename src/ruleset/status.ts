import { FAMILIES, type Family } from '../inet/family.ts';
import { formatPortRange } from '../inet/port.ts';
import { byName, type Element, type Ruleset } from '../nftables/ruleset.ts';
import type { Place } from './automaton.ts';
import { clientsOf, clientText, placeOf } from './client.ts';
import { names } from './names.ts';
import { decompile, guardedPorts, isLookedAt, type Program } from './program.ts';

/** The object that `status --json` prints. Times are in seconds; null means for good. */
export interface Status {
  readonly loaded: boolean;
  /** Whether the kernel has what the file says; null if the file could not be read. */
  readonly inSync: boolean | null;
  /**
   * Whether the table keeps a port closed. It keeps none closed without services, or if no packet comes in by its `interfaces`. Null
   * if all is well, but no service has ports to guard.
   */
  readonly guarded: boolean | null;
  readonly table: string;
  readonly services: Readonly<Record<string, ServiceStatus>>;
  readonly knocking: readonly Knocking[];
  readonly wrongKnocks: number;
  /** Clients that made a wrong knock in the last ten minutes, the latest first. */
  readonly mistaken: readonly Mistaken[];
}

export interface ServiceStatus {
  /** `22/tcp`, `6000-6010/tcp` */
  readonly ports: readonly string[];
  readonly clients: readonly Client[];
  /** Sequences completed, connections let in, packets refused, since the service was first loaded. */
  readonly opened: number;
  readonly accepted: number;
  readonly refused: number;
}

export interface Client {
  /** An address, or a network if `prefix` says so. */
  readonly address: string;
  readonly user: string | null;
  readonly expires: number | null;
}

/** A client in mid-sequence: one entry for each sequence that goes through its place. */
export interface Knocking {
  readonly address: string;
  readonly service: string;
  readonly user: string | null;
  readonly step: number;
  readonly of: number;
  readonly expires: number | null;
}

/** A client, and the time since its last wrong knock, in seconds; null if that is not known. */
export interface Mistaken {
  readonly address: string;
  readonly ago: number | null;
}

/**
 * The clients that are in or knocking, and the counters, from a table with its state. `interfaces` are those that packets
 * come in by. Without them, every interface that the table looks at counts.
 */
export function readStatus(ruleset: Ruleset, inSync: boolean | null, interfaces?: readonly string[]): Status {
  const program = decompile(ruleset);
  const { openings, prefix } = program;
  const counters = byName(ruleset.counters);
  const sets = byName(ruleset.sets);
  const counted = (name: string) => counters.get(name)?.packets ?? 0;
  const elements = (name: string) => sets.get(name)?.elements ?? [];
  const through = byPlace(program);

  return {
    loaded: true,
    inSync,
    guarded: isGuarding(program, interfaces),
    table: ruleset.table.name,
    services: Object.fromEntries(
      [...program.services]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, { ports }]) => [
          name,
          {
            ports: ports.map(formatPortRange),
            clients: clientsOf(sets, name).map(({ family, element, place }) => ({
              address: addressText(family, element, prefix),
              user: (place === null ? undefined : openings.get(place)?.user) ?? null,
              expires: seconds(element),
            })),
            opened: counted(names.opened(name)),
            accepted: counted(names.accepted(name)),
            refused: counted(names.refused(name)),
          },
        ]),
    ),
    knocking: FAMILIES.flatMap(family =>
      [...elements(names.started(family)), ...elements(names.progress(family))].flatMap(element =>
        knocking(element, addressText(family, element, prefix), through),
      ),
    ),
    wrongKnocks: counted(names.wrongKnocks),
    mistaken: FAMILIES.flatMap(family =>
      elements(names.mistaken(family)).map(element => ({
        address: addressText(family, element, prefix),
        ago: past(element),
      })),
    ).toSorted((one, other) => (one.ago ?? 0) - (other.ago ?? 0)),
  };
}

/** The status if no table of ours is loaded. */
export function emptyStatus(table: string): Status {
  return {
    loaded: false,
    inSync: false,
    guarded: false,
    table,
    services: {},
    knocking: [],
    wrongKnocks: 0,
    mistaken: [],
  };
}

function isGuarding(program: Program, interfaces: readonly string[] | undefined): boolean | null {
  const reached = interfaces?.some(name => isLookedAt(program, name)) ?? true;
  if (!program.guards || !(reached || program.interfaces.length === 0)) return false;
  if (guardedPorts(program).size > 0 || program.policy === 'drop') return true;
  return program.services.size > 0 ? null : false;
}

/** A step of a sequence that leads to a place. */
type Step = Pick<Knocking, 'service' | 'user' | 'step' | 'of'>;

function byPlace({ services }: Program): Map<Place, Step[]> {
  const through = new Map<Place, Step[]>();
  for (const [service, { sequences }] of services)
    for (const { user, places } of sequences)
      for (const [index, place] of places.entries()) {
        const step = { service, user, step: index + 1, of: places.length };
        const list = through.get(place);
        if (list) list.push(step);
        else through.set(place, [step]);
      }
  return through;
}

function knocking(
  element: Element,
  address: string,
  through: ReadonlyMap<Place, readonly Step[]>,
): Knocking[] {
  const place = placeOf(element);
  const steps = (place !== null && through.get(place)) || [];
  return steps.map(step => ({ address, ...step, expires: seconds(element) }));
}

function seconds({ expires }: Element): number | null {
  return expires === undefined ? null : expires / 1000;
}

/** Since packets wrote it the last time, in seconds. */
function past({ timeout, expires }: Element): number | null {
  return timeout === undefined || expires === undefined ? null : (timeout - expires) / 1000;
}

function addressText(
  family: Family,
  { key, all }: Element,
  prefix: Readonly<Record<Family, number>>,
): string {
  return all ? '*' : clientText(family, key, prefix[family]);
}
