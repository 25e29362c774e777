import { FAMILIES, type Family } from '../inet/family.ts';
import { formatPortRange } from '../inet/port.ts';
import type { Element } from '../nftables/element.ts';
import { byName, type Ruleset } from '../nftables/ruleset.ts';
import type { Place } from './automaton.ts';
import { clientText } from './client.ts';
import { names } from './names.ts';
import {
  type CompiledSequence,
  compiledSequences,
  guardedPorts,
  isLookedAt,
  looksEverywhere,
  openingPlaces,
  readPrefix,
  servicePorts,
} from './program.ts';

/** What `status --json` prints. Times are in seconds; null for what never ends. */
export interface Status {
  readonly loaded: boolean;
  /** Whether the kernel has what the file says; null if the file could not be read. */
  readonly inSync: boolean | null;
  /** Whether the table keeps a port closed. It keeps none without services, nor if no packet comes in by its `interfaces`. */
  readonly guarded: boolean;
  readonly table: string;
  readonly services: Readonly<Record<string, ServiceStatus>>;
  readonly knocking: readonly Knocking[];
  readonly wrongKnocks: number;
  /** Who made a wrong knock in the last ten minutes, the latest first. */
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

/** A client, and for how long its last wrong knock is past, in seconds; null where that cannot be told. */
export interface Mistaken {
  readonly address: string;
  readonly ago: number | null;
}

/**
 * The clients that are in or knocking, and the counters, from a table with its state. `interfaces` are those that packets
 * come in by. Without them, every interface that the table looks at counts.
 */
export function readStatus(ruleset: Ruleset, inSync: boolean | null, interfaces?: readonly string[]): Status {
  const sequences = compiledSequences(ruleset);
  const users = openingPlaces(ruleset);
  const counters = byName(ruleset.counters);
  const sets = byName(ruleset.sets);
  const counted = (name: string) => counters.get(name)?.packets ?? 0;
  const elements = (name: string) => sets.get(name)?.elements ?? [];
  const prefix = readPrefix(ruleset);
  const through = byPlace(sequences);

  const userAt = (place: Element['data']): string | null => {
    const user = Buffer.isBuffer(place) ? users.get(place.readUInt32LE(0) as Place)?.user : undefined;
    return user ?? null;
  };
  const clients = (service: string): Client[] =>
    FAMILIES.flatMap(family => {
      const places = new Map(
        elements(names.users(service, family)).map(({ key, data }) => [key.toString('latin1'), data]),
      );
      return elements(names.clients(service, family)).map(element => {
        const place = places.get(element.key.toString('latin1'));
        return {
          address: addressText(family, element, prefix),
          user: userAt(place),
          expires: seconds(element),
        };
      });
    });

  return {
    loaded: true,
    inSync,
    guarded: isGuarding(ruleset, interfaces),
    table: ruleset.table.name,
    services: Object.fromEntries(
      [...servicePorts(ruleset)]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, ports]) => [
          name,
          {
            ports: ports.map(formatPortRange),
            clients: clients(name),
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

function isGuarding(ruleset: Ruleset, interfaces: readonly string[] | undefined): boolean {
  const reached =
    !interfaces || looksEverywhere(ruleset) || interfaces.some(name => isLookedAt(ruleset, name));
  return reached && guardedPorts(ruleset).size > 0;
}

function byPlace(
  sequences: readonly CompiledSequence[],
): Map<Place, { sequence: CompiledSequence; step: number }[]> {
  const through = new Map<Place, { sequence: CompiledSequence; step: number }[]>();
  for (const sequence of sequences)
    sequence.places.forEach((place, index) => {
      const list = through.get(place);
      if (list) list.push({ sequence, step: index + 1 });
      else through.set(place, [{ sequence, step: index + 1 }]);
    });
  return through;
}

function knocking(element: Element, address: string, through: ReturnType<typeof byPlace>): Knocking[] {
  const place = Buffer.isBuffer(element.data) ? (element.data.readUInt32LE(0) as Place) : undefined;
  return ((place !== undefined && through.get(place)) || []).map(
    ({ sequence: { service, user, places }, step }) => ({
      address,
      service,
      user,
      step,
      of: places.length,
      expires: seconds(element),
    }),
  );
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
